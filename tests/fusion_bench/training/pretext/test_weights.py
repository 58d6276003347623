"""Images that pretext weights were trained on are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion_bench.data.miniclevr.pretext import image_hashes
from fusion_bench.errors import DataError, WeightsError
from fusion_bench.storage import file_digest, write_json
from fusion_bench.training.pretext_weights import PretextTask, PretextWeights, read_pretext_weights


def test_an_image_that_the_weights_were_trained_on_is_refused() -> None:
    trained_on = np.zeros((2, 4, 6, 3), dtype=np.uint8)
    trained_on[1] = 9
    fresh = np.full((3, 4, 6, 3), 5, dtype=np.uint8)
    weights = PretextWeights(Path("unused"), frozenset(image_hashes(trained_on)))
    weights.check_unseen(fresh, "train")
    with pytest.raises(DataError, match=r"1 images? of the split 'train'"):
        weights.check_unseen(np.concatenate([fresh, trained_on[1:]]), "train")


@pytest.mark.parametrize("record", [{}, [], None, {"sha256": ""}, {"pictures": []}, {"pictures": 3}])
def test_weights_with_a_damaged_record_are_as_good_as_missing(tmp_path: Path, record: object) -> None:
    task = PretextTask("test_resnet", 1, (32, 32))
    file = task.file(tmp_path)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    good = {"pictures": ["a"], "sha256": file_digest(file)}
    write_json(file.with_suffix(".json"), good)
    assert read_pretext_weights(task, tmp_path).file == file
    write_json(file.with_suffix(".json"), {**good, **record} if record == {"pictures": 3} else record)
    with pytest.raises(WeightsError, match="run the study again to make them"):
        read_pretext_weights(task, tmp_path)
