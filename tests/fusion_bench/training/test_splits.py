"""Samples that are left out of a split, the known words, and images that splits share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fusion_bench.errors import DataError
from fusion_bench.results.describe import cautions_of
from fusion_bench.samples.split import Split
from fusion_bench.samples.vocabulary import Vocabulary
from fusion_bench.spec.arms import Arm
from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import Component, DataConfig
from fusion_bench.training.load_cell_data import load_cell_data
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.splits import known_texts, read_split
from toys import ColourData, Squares, here, toy_config

CONFIG = DataConfig("squares", Component(here("Squares")), "1", (8, 8))


def squares(root: Path) -> Squares:
    data = Squares(root, images=6)
    data.prepare()
    return data


def test_samples_of_damaged_images_are_left_out_and_counted_only_when_asked(tmp_path: Path) -> None:
    data = squares(tmp_path)
    (tmp_path / "val" / "2.png").write_bytes(b"no picture")
    assert len(read_split(data, "val", CONFIG).split) == 18
    read = read_split(data, "val", replace(CONFIG, on_bad_image="skip"))
    assert (len(read.split), read.damaged, read.repeated) == (15, 3, 0)
    assert [path.stem for path in read.split.images] == ["0", "1", "3", "4", "5"]
    assert not read.split.table["sample"].str.startswith("val-2-").any()
    # The limit applies to the samples that are left.
    assert len(read_split(data, "val", replace(CONFIG, on_bad_image="skip", limit=15)).split) == 15


class Twice(ColourData):
    """A data set in which every sample of the first image appears twice."""

    def split(self, name: str) -> Split:
        split = super().split(name)
        table = pd.concat([split.table, split.table[split.table["image"] == 0]], ignore_index=True)
        return Split(name, table, split.images, split.slices)


def test_samples_with_a_known_id_are_left_out_and_counted(tmp_path: Path) -> None:
    read = read_split(Twice(tmp_path, images=4), "val", CONFIG)
    assert (len(read.split), read.damaged, read.repeated) == (12, 0, 3)
    assert read.split.table["sample"].is_unique


class Words(ColourData):
    """A data set whose splits use different words."""

    def split(self, name: str) -> Split:
        split = super().split(name)
        return replace(split, table=split.table.assign(text=f"is it {name}?"))


@pytest.mark.parametrize(("which", "own"), [("train", {"train"}), ("published", {"train", "val", "test"})])
def test_words_of_the_evaluation_split_are_known_only_when_asked(
    tmp_path: Path, which: Any, own: set[str]
) -> None:
    data = Words(tmp_path)
    texts = known_texts(data, data.split("train"), replace(CONFIG, vocabulary=which))
    assert {*Vocabulary.of(texts).words} == {"is", "it", *own}


def cell_data(tmp_path: Path, adapter: str) -> CellData:
    config = toy_config()
    data = replace(CONFIG, adapter=Component(here(adapter)))
    return load_cell_data(replace(config, data=data, kind="network"), RunPaths(tmp_path, {}, {}))


def test_shared_images_are_refused_in_data_that_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"images of the split train of squares are also in other splits .24 of test."
    ):
        cell_data(tmp_path, "Leaky")
    found = cell_data(tmp_path, "LeakyAsPublished")
    assert found.data_warnings == {"shared_image": {"test": 24}}


def test_a_report_states_every_data_warning() -> None:
    arm = _arm()
    data_warnings = {
        "damaged_image": {"val": 1200},
        "repeated_id": {"test": 2},
        "shared_image": {"test": 3},
    }
    text = " ".join(cautions_of([arm], ColourData(Path()), {}, data_warnings))
    assert "1,200 samples of val are left out, because their images cannot be read." in text
    assert "2 samples of test are left out, because their ids occur twice." in text
    assert "3 images of test are training images too" in text
    assert "The vocabulary contains the words of all published splits" in text


def _arm() -> Arm:
    config = toy_config()
    return Arm("x", "arm", "x", replace(config, data=replace(config.data, vocabulary="published")))
