"""Images that pretext weights were trained on are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion_bench.data.miniclevr.pretext import image_hashes
from fusion_bench.errors import DataError
from fusion_bench.training.pretext_weights import PretextWeights


def test_an_image_that_the_weights_were_trained_on_is_refused() -> None:
    trained_on = np.zeros((2, 4, 6, 3), dtype=np.uint8)
    trained_on[1] = 9
    fresh = np.full((3, 4, 6, 3), 5, dtype=np.uint8)
    weights = PretextWeights(Path("unused"), frozenset(image_hashes(trained_on)))
    weights.check_unseen(fresh, "train")
    with pytest.raises(DataError, match=r"1 images? of the split 'train'"):
        weights.check_unseen(np.concatenate([fresh, trained_on[1:]]), "train")
