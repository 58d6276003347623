"""Samples that are left out of a split, the known words, and images that splits share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fusion_bench.data.refer.dataset import RefCoco
from fusion_bench.data.verify import verify
from fusion_bench.errors import DataError
from fusion_bench.registry import Target
from fusion_bench.results.describe import cautions_of
from fusion_bench.samples.split import Split
from fusion_bench.samples.vocabulary import Vocabulary
from fusion_bench.spec.arms import Arm
from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import Component, DataConfig
from fusion_bench.training.load_cell_data import CellSplits, load_cell_data
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.splits import known_texts, read_split
from referit import annotation, ref, sentence, write_instances, write_refs
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


GOOD = [4.0, 5.0, 14.0, 5.0, 14.0, 11.0, 4.0, 11.0]


def refcoco(root: Path, outline: Any, text: str = "a vase") -> RefCoco:
    """Return a data set whose training split has an object with the ``outline``, then three with a good one."""
    outlines = [outline, [GOOD], [GOOD], [GOOD]]
    annotations = [
        annotation(1001 + row, 3 + row, segmentation=segmentation)
        for row, segmentation in enumerate(outlines)
    ]
    refs = [
        ref(row + 1, 3 + row, "train", sentence(10 + row, "a vase" if row else text))
        for row in range(len(outlines))
    ]
    write_instances(root, "refcoco", [3, 4, 5, 6], annotations)
    write_refs(root, "refcoco", "unc", refs)
    return RefCoco(root)


def referring(task: str, **changes: Any) -> DataConfig:
    adapter = Component(Target("fusion_bench.data.refer.dataset:RefCoco"))
    return DataConfig("refcoco", adapter, "1.0", (8, 8), task=task, **changes)


@pytest.mark.parametrize(
    "outline", [None, [], [[]], [[1, 1, 5, 5]], [[3, 3, 3, 3, 3, 3]], {"size": [30, 40], "counts": [1200]}]
)
def test_an_object_without_a_mask_is_left_out_of_segmentation_alone(tmp_path: Path, outline: Any) -> None:
    data = refcoco(tmp_path, outline)
    grounding = read_split(data, "train", referring("grounding"))
    assert (len(grounding.split), grounding.of_task) == (4, {})
    masks = read_split(data, "train", referring("segmentation"))
    assert list(masks.split.table["sample"]) == ["refcoco_11", "refcoco_12", "refcoco_13"]
    assert masks.of_task == {"no_mask": 1}
    assert len(read_split(data, "train", referring("segmentation", limit=3)).split) == 3
    noted = verify(data, lambda items, label: items).notes
    assert any("segmentation leaves out 1 samples without a mask; " in note for note in noted)


@pytest.mark.parametrize("bad", [[1, 1, 5, 5], [], [3, 3, 5, 5, 7, 7], [1, 1, 1e9, 1, 5, 5]])
def test_bad_parts_of_an_outline_are_counted(tmp_path: Path, bad: list[float]) -> None:
    read = read_split(refcoco(tmp_path, [bad, GOOD]), "train", referring("segmentation"))
    assert (len(read.split), read.of_task) == (4, {"partial_outline": 1})
    assert read.split.table["truth"].nunique() == 1, "the good part is the whole mask"


def test_a_split_without_any_mask_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    data = refcoco(tmp_path, None)
    path = tmp_path / "refcoco" / "instances.json"
    content = json.loads(path.read_text())
    for record in content["annotations"]:
        record["segmentation"] = [[1, 1, 5, 5]]
    path.write_text(json.dumps(content))
    message = (
        "no sample of the split 'train' of refcoco can be used: .*annotation 1001 .*: a polygon has 4 numbers"
    )
    with pytest.raises(DataError, match=message):
        read_split(data, "train", referring("segmentation"))
    assert len(read_split(data, "train", referring("grounding")).split) == 4


@pytest.mark.parametrize("text", ["", "  ", "\t\n"])
@pytest.mark.parametrize("task", ["grounding", "segmentation"])
def test_an_empty_sentence_is_left_out_and_counted(tmp_path: Path, task: str, text: str) -> None:
    data = refcoco(tmp_path, [GOOD], text)
    read = read_split(data, "train", referring(task))
    assert (len(read.split), len(read.split.images), read.of_task) == (3, 3, {"empty_text": 1})
    assert any(
        "1 samples have no text" in problem for problem in verify(data, lambda items, label: items).problems
    )


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


def test_what_tasks_leave_out_is_warned_of_by_kind_and_split(tmp_path: Path) -> None:
    data = refcoco(tmp_path, [[1, 1, 5, 5], GOOD], " ")
    read = {name: read_split(data, "train", referring("segmentation")) for name in ("train", "val")}
    counted = CellSplits(read, {}, {}).warnings()
    assert counted == {kind: {"train": 1, "val": 1} for kind in ("empty_text", "partial_outline")}


def test_a_report_states_every_data_warning() -> None:
    arm = _arm()
    data_warnings = {
        "damaged_image": {"val": 1200},
        "repeated_id": {"test": 2},
        "shared_image": {"test": 3},
        "empty_text": {"train": 1},
        "no_mask": {"train": 4},
        "partial_outline": {"val": 5},
    }
    text = " ".join(cautions_of([arm], ColourData(Path()), {}, data_warnings))
    assert "1,200 samples of val are left out, because their images cannot be read." in text
    assert "2 samples of test are left out, because their ids occur twice." in text
    assert "1 sentences of train are left out, because they are empty." in text
    assert "4 samples of train are left out, because the outlines of their objects give no mask." in text
    assert "5 samples of val have outlines with parts that give no pixel" in text
    assert "3 images of test are training images too" in text
    assert "The vocabulary contains the words of all published splits" in text


def _arm() -> Arm:
    config = toy_config()
    return Arm("x", "arm", "x", replace(config, data=replace(config.data, vocabulary="published")))
