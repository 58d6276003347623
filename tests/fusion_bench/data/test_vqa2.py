"""The VQA v2 adapter on files that are written here, on faulty files, and on the published sample."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusion_bench.data.held_out import is_held_out
from fusion_bench.data.verify import verify
from fusion_bench.data.vqa2 import Vqa2
from fusion_bench.errors import DataError
from fusion_bench.samples.vocabulary import Vocabulary
from fusion_bench.samples.vqa_answers import normalise_answer
from published_vqa2 import annotation, question, write_split, write_vqa2

TEN = ["a net"] * 6 + ["mesh"] * 4


@pytest.fixture(scope="module")
def large_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vqa2(tmp_path_factory.mktemp("vqa2"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a data set whose train and val have one image and two questions each."""
    for subtype, image in (("train2014", 1), ("val2014", 2)):
        assert not is_held_out(1)
        numbers = (1000 * image, 1000 * image + 1)
        write_split(tmp_path, subtype, [*map(question, numbers)], [annotation(n, TEN) for n in numbers])
    return tmp_path


def test_a_question_is_a_sample_and_its_image_the_cluster(root: Path) -> None:
    data = Vqa2(root)
    data.prepare()
    split = data.split("val2014")
    row = split.table.iloc[1]
    assert row[["sample", "cluster", "text", "truth"]].tolist() == [
        "2001",
        "COCO_val2014_000000000002",
        "What color is it?",
        "a net",
    ]
    assert row["answers"] == tuple(TEN)
    assert split.slices == ("question_type", "answer_type")
    assert row[["question_type", "answer_type"]].tolist() == ["what color", "other"]
    assert split.images == (root / "Images/mscoco/val2014/COCO_val2014_000000000002.jpg",)
    assert split.answers is None


def test_one_image_in_twenty_is_held_out(large_root: Path) -> None:
    data = Vqa2(large_root)
    train, select = data.split("train2014"), data.split("select")
    images = [
        {int(cluster.rpartition("_")[2]) for cluster in split.table["cluster"]} for split in (train, select)
    ]
    assert not images[0] & images[1]
    assert images[1] == {number for number in range(100_000, 100_060) if is_held_out(number)}
    assert len(train) + len(select) == 120
    # Of many numbers a twentieth is held out: 5,000 expected, with a standard deviation of 69.
    assert abs(sum(map(is_held_out, range(100_000))) - 5000) < 4 * 69


def test_the_answers_are_those_of_more_than_eight_training_questions(large_root: Path) -> None:
    data = Vqa2(large_root)
    answers = data.split("train2014").answers
    assert answers == ("blue", "green", "no", "red", "yes")
    file = large_root / "Annotations" / "v2_mscoco_val2014_annotations.json"
    content = file.read_text()
    try:
        file.write_text(content.replace('"yes", "answers"', '"Sure.", "answers"'))
        assert data.split("train2014").answers == answers
        both = Vqa2(large_root, answers="published").split("train2014").answers
        assert both == ("blue", "green", "no", "red", "sure", "yes")
    finally:
        file.write_text(content)


def test_a_list_in_a_file_is_read_and_gives_a_caution(root: Path) -> None:
    (root / "list.json").write_text(json.dumps([{"net": 1, "mesh": 0}, {"0": "mesh", "1": "net"}]))
    data = Vqa2(root, answers="list.json")
    assert data.split("train2014").answers == ("mesh", "net")
    assert any("`list.json`" in caution for caution in data.cautions)
    assert any("answers: published" in caution for caution in Vqa2(root, answers="published").cautions)
    assert len(Vqa2(root).cautions) == 1
    before = data.manifest()
    (root / "list.json").write_text(json.dumps([{"net": 0, "mesh": 1}, {}]))
    assert data.manifest() != before
    for wrong in ("[]", '[{"net": 1}]', '{"net": 0}', "[", "[[0]]"):
        (root / "list.json").write_text(wrong)
        with pytest.raises(DataError, match=r"list\.json does not contain a list of answers"):
            data.split("train2014")
    with pytest.raises(DataError, match=r"list\.json' is not under"):
        Vqa2(root, answers="../list.json")
    with pytest.raises(DataError, match=r"none\.json does not exist"):
        Vqa2(root, answers="none.json").prepare()
    with pytest.raises(DataError, match=r"no answer can be listed: .* give a file"):
        Vqa2(root).split("train2014")


def test_a_split_without_published_answers_is_read_when_asked_for(large_root: Path) -> None:
    data = Vqa2(large_root, predict=["test-dev2015"])
    data.prepare()
    assert data.splits.predict == ("test-dev2015",)
    split = data.split("test-dev2015")
    assert len(split) == 120
    assert set(split.table["truth"]) == {""}
    assert split.images[0].parent.name == "test2015"
    assert data.manifest() != Vqa2(large_root).manifest()
    with pytest.raises(DataError, match=r"test2015_questions\.json does not exist"):
        Vqa2(large_root, predict=["test2015"]).prepare()
    with pytest.raises(DataError, match="predict: 'val2014' is not a split without answers"):
        Vqa2(large_root, predict=["val2014"])


def test_any_script_and_any_length(root: Path) -> None:
    long = " ".join(f"word{number}" for number in range(10_000))
    numbers = (2000, 2001)
    texts = ("\u56fe\u7247\u91cc\u6709\u4ec0\u4e48\uff1f", long)
    write_split(
        root,
        "val2014",
        [question(number, text) for number, text in zip(numbers, texts, strict=True)],
        [annotation(2000, ["\u732b"] * 10), annotation(2001, TEN)],
    )
    table = Vqa2(root).split("val2014").table
    assert tuple(table["text"]) == texts
    assert table["truth"][0] == "\u732b"
    assert Vocabulary.of(table["text"]).encode(list(table["text"])).shape == (2, 10_000)


def test_files_of_any_editor_are_read(root: Path) -> None:
    (root / "list.json").write_text(json.dumps([{"mesh": 0, "net": 1}, {}]))
    before = Vqa2(root, answers="list.json").split("train2014")
    for file in (*root.rglob("*.json"),):
        content = json.dumps(json.loads(file.read_text()), indent=1).replace("\n", "\r\n")
        file.write_bytes(f"\ufeff{content}\r\n".encode())
    after = Vqa2(root, answers="list.json").split("train2014")
    assert after.answers == before.answers == ("mesh", "net")
    assert after.table.equals(before.table)


def test_a_link_to_an_answer_list_elsewhere_is_followed(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "answers.json"
    elsewhere.write_text(json.dumps([{"net": 0}, {}]))
    (root / "list.json").symlink_to(elsewhere)
    data = Vqa2(root, answers="list.json")
    data.prepare()
    assert data.split("train2014").answers == ("net",)
    before = data.manifest()
    elsewhere.write_text(json.dumps([{"mesh": 0}, {}]))
    assert data.manifest() != before
    elsewhere.unlink()
    with pytest.raises(DataError, match=r"list\.json is a link to .*answers\.json, which does not exist"):
        data.prepare()
    with pytest.raises(DataError, match=r"'\.\./answers\.json' is not under"):
        Vqa2(root, answers="../answers.json")


def test_answers_that_cannot_be_stored_are_refused(root: Path) -> None:
    (root / "list.json").write_text(r'[{"\ud83d": 0}, {}]')
    with pytest.raises(DataError, match=r"list\.json does not contain a list of answers"):
        Vqa2(root, answers="list.json").split("train2014")


def test_dangling_links_that_no_question_asks_about_are_no_problem(root: Path) -> None:
    before, manifest = verify(Vqa2(root), lambda items, label: items), Vqa2(root).manifest()
    for subtype in ("train2014", "val2014"):
        folder = root / "Images/mscoco" / subtype
        (folder / "extra.jpg").symlink_to("nowhere.jpg")
        (folder / "circle").symlink_to(".")
    assert verify(Vqa2(root), lambda items, label: items) == before
    assert Vqa2(root).manifest() == manifest
    image = root / "Images/mscoco/val2014/COCO_val2014_000000000002.jpg"
    image.rename(root / "moved.jpg")
    image.symlink_to(root / "moved.jpg")
    assert len(Vqa2(root).split("val2014")) == 2
    (root / "moved.jpg").unlink()
    found = verify(Vqa2(root), lambda items, label: items)
    assert any("1 of 1 images are missing" in problem for problem in found.problems)


Records = list[dict[str, Any]]


def _drop(records: Records) -> None:
    records.pop()


def _repeat(records: Records) -> None:
    records.append(records[0])


def _nine(records: Records) -> None:
    records[1]["answers"].pop()


def _eleven(records: Records) -> None:
    records[1]["answers"].append({"answer": "x", "answer_confidence": "no", "answer_id": 11})


def _one_person_twice(records: Records) -> None:
    records[1]["answers"][0]["answer_id"] = 2


def _other_image(records: Records) -> None:
    records[1]["image_id"] = 77


def _no_type(records: Records) -> None:
    del records[1]["question_type"]


def _no_text(records: Records) -> None:
    records[1]["question"] = 5


def _no_number(records: Records) -> None:
    records[1]["question_id"] = "2001"


@pytest.mark.parametrize(
    ("kind", "spoil", "message"),
    [
        ("questions", _repeat, r"val2014_questions\.json contains the question_id 2000 twice"),
        ("annotations", _repeat, r"val2014_annotations\.json contains the question_id 2000 twice"),
        ("annotations", _nine, "question 2001 has 9 answers by 9 people"),
        ("annotations", _eleven, "question 2001 has 11 answers by 11 people"),
        ("annotations", _one_person_twice, "question 2001 has 10 answers by 9 people"),
        ("annotations", _drop, r"annotations\.json has no annotation of question 2001"),
        (
            "questions",
            _drop,
            r"has annotations of 1 questions that are not in .*questions\.json; the first is 2001",
        ),
        (
            "annotations",
            _other_image,
            r"question 2001 has the image 77 in .*annotations\.json, but the image 2 in .*questions\.json",
        ),
        ("annotations", _no_type, "number 1 of the annotations: the key 'question_type' is missing"),
        ("questions", _no_text, "number 1 of the questions .*: question 5 is not text"),
        ("questions", _no_number, "question_id '2001' is not a whole number"),
    ],
)
def test_faults_of_the_files_are_named(
    root: Path, kind: str, spoil: Callable[[Records], None], message: str
) -> None:
    (file,) = (root / kind.capitalize()).glob(f"*val2014_{kind}.json")
    content = json.loads(file.read_text())
    spoil(content[kind])
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        Vqa2(root).split("val2014")
    assert "\n" not in str(caught.value)


def test_missing_and_truncated_files_are_named(root: Path) -> None:
    data = Vqa2(root)
    with pytest.raises(DataError, match=r"VQA v2 has no split 'val2015'.*'val2014'"):
        data.split("val2015")
    with pytest.raises(DataError, match=r"the split 'select' of .* is empty"):
        data.split("select")
    (root / "Images/mscoco/val2014/COCO_val2014_000000000002.jpg").unlink()
    with pytest.raises(
        DataError, match=r"1 of 1 images are missing in .*; the first is COCO_val2014_000000000002\.jpg"
    ):
        data.split("val2014")
    file = root / "Annotations/v2_mscoco_val2014_annotations.json"
    file.write_text(file.read_text()[:-40])
    with pytest.raises(DataError, match=r"val2014_annotations\.json is not JSON"):
        data.split("val2014")
    file.write_text('{"annotations": []}')
    with pytest.raises(DataError, match="has no annotations"):
        data.split("val2014")
    file.unlink()
    with pytest.raises(DataError, match=r"annotations\.json does not exist; it is published at https://"):
        data.prepare()


@pytest.mark.pack
def test_the_published_sample(packs: Path, tmp_path: Path) -> None:
    root = tmp_path / "vqa2"
    shutil.copytree(packs / "vqa_v2_mini", root)
    data = Vqa2(root)
    data.prepare()
    assert len(data.manifest()) == 64
    val = data.split("val2014")
    assert len(val) == 5
    assert [path.name for path in val.images] == [
        "COCO_val2014_000000262148.jpg",
        "COCO_val2014_000000393225.jpg",
    ]
    assert all(path.is_file() for path in val.images)
    assert val.table["answers"].map(len).eq(10).all()
    # The one image of train2014 is not held out.
    (root / "list.json").write_text(json.dumps([{"net": 0}, {"0": "net"}]))
    train = Vqa2(root, answers="list.json").split("train2014")
    assert list(train.table["text"]) == [
        "What is this photo taken looking through?",
        "What position is this man playing?",
        "What color is the players shirt?",
    ]
    assert normalise_answer(train.table["truth"][0]) == "net"
    assert train.table["answers"][0] == ("net", "net", "net", "netting", "net", "net", "mesh", *["net"] * 3)
    assert train.table[["question_type", "answer_type"]].iloc[0].tolist() == ["what is this", "other"]
