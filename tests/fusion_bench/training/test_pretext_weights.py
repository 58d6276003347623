"""Weights of the pretext task refuse to be judged on pictures that they have learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion_bench.data.miniclevr.pretext import image_hashes
from fusion_bench.errors import DataError
from fusion_bench.training.pretext_weights import PretextWeights


def test_a_picture_that_the_weights_have_seen_is_refused() -> None:
    seen = np.zeros((2, 4, 6, 3), dtype=np.uint8)
    seen[1] = 9
    fresh = np.full((3, 4, 6, 3), 5, dtype=np.uint8)
    weights = PretextWeights(Path("unused"), frozenset(image_hashes(seen)))
    weights.refuse_seen(fresh, "train")
    with pytest.raises(DataError, match=r"1 pictures? of the split 'train'"):
        weights.refuse_seen(np.concatenate([fresh, seen[1:]]), "train")
