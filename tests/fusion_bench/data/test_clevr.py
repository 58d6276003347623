"""The CLEVR adapter on a small data set that is written here, and on the packs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fusion_bench.data.annotations import clevr_questions
from fusion_bench.data.annotations.json_stream import list_items
from fusion_bench.data.clevr import KIND_STARTS, Clevr
from fusion_bench.data.cogent import ClevrCogent
from fusion_bench.data.verify import verify
from fusion_bench.errors import DataError
from fusion_bench.registries import DATASETS
from fusion_bench.samples.dataset import Counts
from fusion_bench.samples.split import Split

BARE = ("image_index", "image_filename", "question_index", "split", "question")
COUNT = [
    {"function": "scene", "inputs": [], "value_inputs": []},
    {"function": "filter_color", "inputs": [0], "value_inputs": ["red"]},
    {"function": "count", "inputs": [1], "value_inputs": []},
]


def question(number: int, image: int, split: str = "train", **changes: Any) -> dict[str, Any]:
    record = {
        "image_index": image,
        "image_filename": f"CLEVR_{split}_{image:06d}.png",
        "question_index": number,
        "question_family_index": 84,
        "split": split,
        "question": "How many red things are there?",
        "answer": "2",
        "program": COUNT,
    }
    return record | changes


def write(root: Path, split: str, questions: list[dict[str, Any]]) -> Path:
    images = root / "images" / split
    images.mkdir(parents=True, exist_ok=True)
    for record in questions:
        if "image_filename" in record:
            Image.new("RGB", (3, 2)).save(images / str(record["image_filename"]))
    path = root / "questions" / f"CLEVR_{split}_questions.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"info": {"split": split}, "questions": questions}))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """40 train images with one question each, one val image with two."""
    write(tmp_path, "train", [question(number, number) for number in range(40)])
    exist = [*COUNT[:2], {"function": "exist", "inputs": [1], "value_inputs": []}]
    changes = {"question_family_index": 73, "answer": "yes", "program": exist}
    write(tmp_path, "val", [question(7, 3, "val"), question(9, 3, "val", **changes)])
    return tmp_path


def test_a_split_has_one_row_per_question(root: Path) -> None:
    data = Clevr(root)
    data.prepare()
    split = data.split("val")
    assert split.table.to_dict("records") == [
        {
            "sample": "CLEVR_val_7",
            "cluster": "CLEVR_val_000003",
            "image": 0,
            "text": "How many red things are there?",
            "truth": "2",
            "kind": "zero_hop",
            "hops": "0",
            "asks": "count",
            "floor_group": "zero_hop count 1",
        },
        {
            "sample": "CLEVR_val_9",
            "cluster": "CLEVR_val_000003",
            "image": 0,
            "text": "How many red things are there?",
            "truth": "yes",
            "kind": "one_hop",
            "hops": "0",
            "asks": "exist",
            "floor_group": "one_hop exist 1",
        },
    ]
    assert split.images == (root / "images" / "val" / "CLEVR_val_000003.png",)
    assert split.slices == ("kind", "hops", "asks")


def test_select_is_held_out_of_train_by_whole_images(root: Path) -> None:
    data = Clevr(root)
    train, select = data.split("train"), data.split("select")
    assert len(select) > 0
    assert sorted([*train.table["cluster"], *select.table["cluster"]]) == [
        f"CLEVR_train_{number:06d}" for number in range(40)
    ]


def test_only_the_wanted_kinds_are_kept(root: Path) -> None:
    split = Clevr(root, kinds=["one_hop"]).split("val")
    assert list(split.table["sample"]) == ["CLEVR_val_9"]
    with pytest.raises(DataError, match="no question of the kinds two_hop for the split 'val'"):
        Clevr(root, kinds=["two_hop"]).split("val")
    with pytest.raises(DataError, match=r"no question kind 'one_hops' .did you mean 'one_hop'"):
        Clevr(root, kinds=["one_hops"])
    with pytest.raises(DataError, match="kinds is empty"):
        Clevr(root, kinds=[])


@pytest.mark.parametrize("kinds", [["one_hop"], "locate", ["zero_hop", "two_hop"]])
def test_the_published_counts_are_not_those_of_some_kinds(tmp_path: Path, kinds: Any) -> None:
    some = Clevr(tmp_path, kinds=kinds)
    assert some.known_counts("val") == some.known_counts("train") == Counts(None, None)
    assert some.known_counts("test") == Counts(149_988, 15_000)  # it has no kinds, so nothing is left out
    for every in (Clevr(tmp_path), Clevr(tmp_path, kinds="reason"), Clevr(tmp_path, kinds=[*KIND_STARTS])):
        assert every.known_counts("val") == Counts(149_991, 15_000)
    assert ClevrCogent(tmp_path, kinds=kinds).known_counts("valB") == Counts(None, None)
    assert ClevrCogent(tmp_path).known_counts("valB") == Counts(None, 15_000)


def test_some_kinds_are_complete_without_the_published_counts(root: Path) -> None:
    found = verify(Clevr(root, kinds=["one_hop", "zero_hop"]), lambda items, _: items)
    assert not any("published" in problem for problem in found.problems) and not found.published
    assert any("149,991 are published" in found for found in verify(Clevr(root), lambda i, _: i).problems)


RAW = [{"type": "scene", "inputs": [], "_output": [0, 1]}]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (question(0, 0, program=RAW), "raw output of generate_questions.py"),
        (question(0, 0, program=[{"function": "scene", "inputs": []}]), "exactly the keys function, inputs"),
        (question(0, 0, program=COUNT[:2]), "does not end in a function that returns an answer"),
        (question(0, 0, program=[]), "does not end in a function that returns an answer"),
        (question(0, 0, program=3), "does not end in a function that returns an answer"),
        (question(0, 0, answer=2), "the answer 2, which is not one of CLEVR's 28 answers"),
        (question(0, 0, answer="maybe"), "the answer 'maybe'"),
        (question(0, 0, question_family_index=90), "question_family_index 90; expected 0 to 89"),
        (question(0, 0, template_filename="x.json"), "missing or unknown: template_filename"),
        (
            {key: value for key, value in question(0, 0).items() if key != "split"},
            "missing or unknown: split",
        ),
        (
            {key: value for key, value in question(0, 0).items() if key != "answer"},
            "question 0 has no answer",
        ),
        (question(0, 0, image_index="0"), "not a whole number"),
        (question(0, 0, question=None), "not text"),
    ],
)
def test_a_question_outside_the_schema_is_refused(
    tmp_path: Path, record: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, "train", [record])
    with pytest.raises(DataError, match=message) as error:
        Clevr(tmp_path).split("train")
    assert str(path) in str(error.value)


def test_missing_and_damaged_files_are_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'tests' .did you mean 'test'"):
        Clevr(root).split("tests")
    (root / "images" / "val" / "CLEVR_val_000003.png").unlink()
    with pytest.raises(
        DataError, match=r"1 of the 1 images .* are missing in .*; the first is CLEVR_val_000003.png"
    ):
        Clevr(root).split("val")
    path = root / "questions" / "CLEVR_val_questions.json"
    path.write_text('{"questions": [')
    with pytest.raises(DataError, match=r"CLEVR_val_questions\.json is not JSON"):
        Clevr(root).split("val")
    path.write_text("[]")
    with pytest.raises(DataError, match="does not contain an object with the key 'questions'"):
        Clevr(root).split("val")
    path.unlink()
    with pytest.raises(DataError, match="does not exist; it is published at https://"):
        Clevr(root).prepare()
    write(root, "val", [question(1, 0, "val"), question(1, 0, "val")])
    with pytest.raises(DataError, match="question_index twice"):
        Clevr(root).split("val")


def _cached(root: Path, cache: Path) -> Clevr:
    data = Clevr(root)
    data.cache = cache
    return data


def test_questions_are_parsed_once_and_a_changed_file_is_parsed_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, cache = Clevr(root).split("val"), tmp_path / "cache"
    pd.testing.assert_frame_equal(_cached(root, cache).split("val").table, plain.table)

    def parsed_again(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(clevr_questions, "list_items", parsed_again)
        again = _cached(root, cache).split("val")
        # The index is keyed by content: a moved folder finds it.
        moved = root.rename(tmp_path.parent / f"{tmp_path.name}-moved")
        cache = moved / "cache"
        _cached(moved, cache).split("val")
    pd.testing.assert_frame_equal(again.table, plain.table)
    assert again.images == plain.images
    path = moved / "questions" / "CLEVR_val_questions.json"
    before = path.stat()
    path.write_text(path.read_text().replace('"answer": "2"', '"answer": "3"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size
    assert list(_cached(moved, cache).split("val").table["truth"]) == ["3", "yes"]


def test_a_damaged_index_is_made_again(root: Path, tmp_path: Path) -> None:
    plain, cache = Clevr(root).split("val"), tmp_path / "cache"
    _cached(root, cache).split("val")
    (index,) = cache.glob("*.arrow")
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)
    pd.testing.assert_frame_equal(_cached(root, cache).split("val").table, plain.table)


def test_two_openings_at_once_parse_once(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []

    def slowly(path: Path, key: str) -> Iterator[Any]:
        parsed.append(path)
        time.sleep(0.3)
        yield from list_items(path, key)

    monkeypatch.setattr(clevr_questions, "list_items", slowly)
    with ThreadPoolExecutor(2) as pool:
        # Each opening locks through a file handle of its own, as two processes would.
        sizes = [*pool.map(lambda _: len(_cached(root, tmp_path / "cache").split("val")), range(2))]
    assert sizes == [2, 2]
    assert len(parsed) == 1


def test_the_test_split_has_no_truth_and_is_not_evaluated_on(root: Path) -> None:
    bare = [
        {key: value for key, value in question(number, 5, "test").items() if key in BARE}
        for number in range(3)
    ]
    write(root, "test", bare)
    data = Clevr(root)
    split = data.split("test")
    assert data.splits.evaluate == ("val",)
    assert list(split.table["sample"]) == ["CLEVR_test_0", "CLEVR_test_1", "CLEVR_test_2"]
    assert list(split.table["truth"]) == ["", "", ""]
    assert split.slices == ()
    assert [image.name for image in split.images] == ["CLEVR_test_000005.png"]


def test_the_manifest_follows_questions_and_images_but_not_the_place(root: Path, tmp_path: Path) -> None:
    before = Clevr(root).manifest()
    moved = root.rename(tmp_path.parent / f"{tmp_path.name}-moved")
    assert Clevr(moved).manifest() == before
    image = moved / "images" / "val" / "CLEVR_val_000003.png"
    content = image.read_bytes()
    image.write_bytes(content + b"\0")
    assert Clevr(moved).manifest() != before
    image.write_bytes(content)
    assert Clevr(moved).manifest() == before
    write(moved, "val", [question(7, 3, "val", answer="3")])
    assert Clevr(moved).manifest() != before


def test_the_floor_is_the_best_constant_of_each_group_fitted_on_train() -> None:
    def split(rows: list[tuple[str, str]]) -> Split:
        return Split("any", pd.DataFrame(rows, columns=["floor_group", "truth"]), ())

    train = split([("a", "0"), ("a", "0"), ("a", "1"), ("b", "yes"), ("b", "no"), ("b", "yes"), ("c", "0")])
    # a: 0 is right once in two; b: yes is right; d is unknown, so the most frequent answer, 0.
    select = split([("a", "0"), ("a", "1"), ("b", "yes"), ("d", "0"), ("d", "yes")])
    floor = Clevr(Path()).floor(train, select)
    assert floor.accuracy == pytest.approx(3 / 5)


def test_kinds_follow_the_family_numbers_of_the_release() -> None:
    assert list(KIND_STARTS) == sorted(KIND_STARTS, key=lambda kind: KIND_STARTS[kind])
    assert DATASETS.resolve("clevr").load() is Clevr


@pytest.mark.pack
def test_a_pack_rendered_in_blender_reads_whole(packs: Path) -> None:
    data = Clevr(packs / "clevr_blender")
    data.prepare()
    train, select, val = (data.split(name) for name in ("train", "select", "val"))
    assert len(train) + len(select) == 10_290
    assert len(val) == 1_800
    assert 0.03 < len(select.images) / 1_029 < 0.07
    assert not set(train.images) & set(select.images)
    assert set(train.table["kind"]) == set(KIND_STARTS)
    assert set(train.table["hops"]) == {"0", "1", "2", "3"}
    hops = pd.crosstab(train.table["kind"], train.table["hops"])
    for kind, number in (("zero_hop", "0"), ("one_hop", "1"), ("two_hop", "2"), ("three_hop", "3")):
        assert hops.loc[kind, number] == hops.loc[kind].sum()
    # An independent count of the floor, row by row.
    best: dict[str, dict[str, int]] = {}
    for group, truth in zip(train.table["floor_group"], train.table["truth"], strict=True):
        best.setdefault(group, {}).setdefault(truth, 0)
        best[group][truth] += 1
    constants = {
        group: max(sorted(counts), key=lambda answer: counts[answer]) for group, counts in best.items()
    }
    pairs = list(zip(val.table["floor_group"], val.table["truth"], strict=True))
    right = [constants.get(group) == truth for group, truth in pairs]
    unknown = [group for group, _ in pairs if group not in constants]
    assert data.floor(train, val).accuracy == pytest.approx(np.mean(right), abs=len(unknown) / len(val))


@pytest.mark.pack
def test_the_real_test_questions_have_no_answers(packs: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions"
    questions.mkdir()
    published = packs / "clevr_real_sample" / "questions" / "CLEVR_test_questions.json"
    (questions / "CLEVR_val_questions.json").write_bytes(published.read_bytes())
    with pytest.raises(DataError, match="test questions are published without answers"):
        Clevr(tmp_path).split("val")


@pytest.mark.pack
def test_the_real_test_questions_read_as_a_split_without_truth(packs: Path, tmp_path: Path) -> None:
    published = packs / "clevr_real_sample" / "questions" / "CLEVR_test_questions.json"
    records = json.loads(published.read_text())["questions"]
    write(tmp_path, "test", records)
    table = Clevr(tmp_path).split("test").table
    assert list(table["text"]) == [record["question"] for record in records]
    assert set(table["truth"]) == {""}


def test_answers_are_submitted_line_by_line_in_the_order_of_the_questions(root: Path) -> None:
    submission = Clevr(root).submission("test", {"CLEVR_test_1": "yes", "CLEVR_test_0": "2"}, "film-seed0")
    assert (submission.file, submission.text) == ("CLEVR_test_film-seed0.txt", "yes\n2\n")
