"""The easy-VQA adapter on files that are written here, on faulty files, and on the published package."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fusion_bench.data.annotations import easy_vqa_rows
from fusion_bench.data.annotations.easy_vqa_rows import LARGEST_BYTES
from fusion_bench.data.easy_vqa import NAMED_COLORS, NAMED_SHAPES, EasyVqa
from fusion_bench.data.held_out import is_held_out
from fusion_bench.data.images import image_digests
from fusion_bench.data.verify import verify
from fusion_bench.errors import DataError
from published_easy_vqa import install_easy_vqa, write_easy_vqa, write_rows

GOOD = ["is there a circle?", "yes", 0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_easy_vqa(tmp_path)


@pytest.fixture(scope="module")
def published() -> EasyVqa:
    assert EasyVqa.package is not None
    folder = EasyVqa.package.find()
    if folder is None:
        pytest.skip(f"the package easy-vqa is not installed: {EasyVqa.package.command}")
    return EasyVqa(folder)


def test_questions_of_an_image_stay_in_one_split(root: Path) -> None:
    data = EasyVqa(root)
    data.prepare()
    train, select, test = (data.split(name) for name in ("train", "select", "test"))
    assert (len(train) + len(select), len(test)) == (240, 96)
    assert {image.parent.parent.name for image in select.images} == {"train"}
    held_out = {image.stem for image in select.images}
    assert held_out == {str(number) for number in range(60) if is_held_out(number)} != set()
    assert not held_out & {image.stem for image in train.images}
    for split in (train, select, test):
        of_row = [split.images[row].stem for row in split.table["image"]]
        assert of_row == list(split.table["cluster"].str.split("-").str[1])
        assert split.table["sample"].is_unique
        assert len(split) == 4 * len(split.images)
    assert not set(train.table["sample"]) & set(select.table["sample"])


def test_a_sample_is_named_by_its_row_and_sliced_by_its_wording(root: Path) -> None:
    rows = [
        ["what color is the shape?", "red", 5],
        ["what is the color of the circle?", "red", 5],
        ["what is the red shape?", "circle", 0],
        ["does the image not contain a circle?", "no", 0],
        ["is there a red shape?", "yes", 0],
        ["what shape does the image contain?", "circle", 0],
    ]
    write_rows(root, "test", rows)
    split = EasyVqa(root).split("test")
    assert [image.name for image in split.images] == ["0.png", "5.png"]
    assert split.slices == ("asks", "names")
    columns = ["sample", "cluster", "image", "text", "truth", "asks", "names"]
    assert split.table[columns].to_numpy().tolist() == [
        ["test-0", "test-5", 1, rows[0][0], "red", "color", "neither"],
        ["test-1", "test-5", 1, rows[1][0], "red", "color", "shape"],
        ["test-2", "test-0", 0, rows[2][0], "circle", "shape", "color"],
        ["test-3", "test-0", 0, rows[3][0], "no", "absence", "shape"],
        ["test-4", "test-0", 0, rows[4][0], "yes", "presence", "color"],
        ["test-5", "test-0", 0, rows[5][0], "circle", "shape", "neither"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps([GOOD, ["is there a circle?", "yes"]]), r"row 1 .* expected \[question, answer, image"),
        (json.dumps([GOOD, [*GOOD, 0]]), "row 1 .* expected"),
        (json.dumps([GOOD, {"question": "?"}]), "row 1 .* expected"),
        (json.dumps([["is there?", "yes", "0"]]), "row 0 .* expected"),
        (json.dumps([GOOD, ["is there?", "yes", True]]), "row 1 .* expected"),
        (json.dumps([GOOD, ["is there?", "yes", 1.0]]), "row 1 .* expected"),
        (json.dumps([GOOD, ["is there?", "yes", -1]]), "row 1 .* expected"),
        (json.dumps([GOOD, [" ", "yes", 0]]), "row 1 .* expected"),
        (json.dumps([GOOD, ["is there \ud83d?", "yes", 0]]), "row 1 .* expected"),
        (json.dumps([GOOD, ["is there?", None, 0]]), "row 1 .* expected"),
        (
            json.dumps([GOOD, ["is there?", "Yes", 0]]),
            "row 1 .* the answer 'Yes', which answers.txt does not",
        ),
        (json.dumps([GOOD, GOOD]), "row 1 .* asks the same question about image 0 as row 0"),
        (json.dumps([GOOD, ["is there?", "yes", 99]]), r"1 images of .* the first is 99\.png, in row 1; get"),
        (json.dumps([["is there?", "yes", n] for n in (98, 97)]), r"2 images of .* is 98\.png, in row 0"),
        (f"[{json.dumps(GOOD)}", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (f"[{'7' * 5000}]", "is not JSON"),
        (json.dumps({"questions": [GOOD]}), "is no list of rows"),
        ("[]", "is no list of rows"),
    ],
)
def test_bad_rows_are_named(root: Path, text: str, message: str) -> None:
    file = root / "test" / "questions.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as raised:
        EasyVqa(root).split("test")
    assert str(raised.value).count("\n") == 0
    assert len(str(raised.value)) < len(str(root)) * 2 + 300
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"yes\nno\nyes\n", r"answers\.txt, line 3 repeats 'yes'"),
        (b"yes\n\nno\n", r"answers\.txt, line 2 is empty"),
        (b"", r"answers\.txt contains no answer"),
        (b"y\xff\n", r"answers\.txt is not UTF-8"),
        (b"yes\nno\n", r"questions\.json, row 0 .* the answer 'circle', which answers\.txt does not list"),
        (b"yes\n" * 20_000, r"answers\.txt has 80,000 bytes, but at most 65,536 are accepted"),
    ],
)
def test_a_bad_answer_list_is_named(root: Path, content: bytes, message: str) -> None:
    (root / "answers.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        EasyVqa(root).split("test")


def test_line_ends_of_windows_and_a_byte_order_mark_are_read(root: Path) -> None:
    expected = EasyVqa(root).split("test").table
    answers = (root / "answers.txt").read_bytes()
    (root / "answers.txt").write_bytes(b"\xef\xbb\xbf" + answers.replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(EasyVqa(root).split("test").table, expected)


def test_a_questions_file_that_is_too_large_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(easy_vqa_rows, "LARGEST_BYTES", {**LARGEST_BYTES, "questions.json": 1000})
    with pytest.raises(DataError, match=r"questions\.json has [\d,]+ bytes, but at most 1,000 are accepted"):
        EasyVqa(root).split("test")


def test_a_train_split_of_one_image_is_refused(tmp_path: Path) -> None:
    root = write_easy_vqa(tmp_path, train=1)
    assert len(EasyVqa(root).split("select").images) == 1
    with pytest.raises(DataError, match=r"the split 'train' of .*questions\.json is empty"):
        EasyVqa(root).split("train")


def test_missing_files_are_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"easy-VQA has no split 'tset'.*'test'"):
        EasyVqa(root).split("tset")
    (root / "answers.txt").unlink()
    with pytest.raises(DataError, match=r"answers\.txt does not exist; it is published at https://"):
        EasyVqa(root).prepare()
    with pytest.raises(DataError, match=r"answers\.txt does not exist"):
        EasyVqa(root).split("test")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write_rows(root, "train", [GOOD]),
        lambda root: (root / "answers.txt").write_text("yes\nno\n"),
        lambda root: (root / "test" / "images" / "3.png").unlink(),
    ],
)
def test_a_change_of_any_file_changes_the_manifest(root: Path, change: Callable[[Path], Any]) -> None:
    before = EasyVqa(root).manifest()
    change(root)
    assert EasyVqa(root).manifest() != before


def test_the_files_and_not_the_version_of_the_package_identify_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell is stale where these digests differ (`tests/fusion_bench/study/test_cell_status.py`)."""
    found = {}
    for version in ("1.0", "7.5"):
        site = tmp_path / version
        install_easy_vqa(site, version)
        with monkeypatch.context() as patched:
            patched.syspath_prepend(site)
            folder = EasyVqa.package.find() if EasyVqa.package else None
        assert folder == site / "easy_vqa" / "data"
        found[version] = EasyVqa(folder)
    assert found["7.5"].contents() == found["1.0"].contents()
    write_rows(found["7.5"].root, "test", [GOOD])
    changed = {name for name, sha in found["7.5"].contents().items() if sha != found["1.0"].contents()[name]}
    assert changed == {"test/questions.json"}


def test_the_files_of_the_published_package_are_those_of_its_version(published: EasyVqa) -> None:
    """The declared version is part of a cell's identity: other files under it would be other data."""
    assert published.manifest() == "db09a8fec0a4fa2a8fb0cc50388e5bd83d04f113649e9ab2c038b136d7d5698e"


def test_other_counts_and_damaged_images_are_reported(root: Path) -> None:
    (root / "test" / "images" / "2.png").write_bytes(b"no picture")
    problems = "\n".join(verify(EasyVqa(root), lambda items, _: items).problems)
    assert "train: 240 samples, but 38,575 are published" in problems
    assert "test: 24 images, but 1,000 are published" in problems
    assert "2.png is damaged or not an image" in problems


def test_the_floor_is_the_most_frequent_answer_to_each_wording(root: Path) -> None:
    circle, color = "is there a circle?", "what color is the circle?"
    write_rows(
        root,
        "train",
        [
            *([circle, "no", n] for n in range(8)),
            [circle, "yes", 8],
            *([color, "blue", n] for n in (0, 1)),
            *([color, "red", n] for n in (2, 3)),
        ],
    )
    write_rows(root, "test", [[circle, "no", 0], [color, "blue", 0], [color, "red", 1], ["new?", "no", 2]])
    data = EasyVqa(root)
    floor = data.floor(data.split("train"), data.split("test"))
    assert floor.accuracy == 0.75  # of equally frequent answers, blue comes first; the new question gets "no"


def test_the_published_files_have_the_known_counts(published: EasyVqa) -> None:
    found = verify(published, lambda items, _: items)
    assert found.problems == ()
    counts = {name: (count.samples, count.images) for name, count in found.found.items()}
    assert counts == {"train": (36_636, 3_802), "select": (1_939, 198), "test": (9_673, 1_000)}


def test_the_published_wordings_agree_with_the_answers(published: EasyVqa) -> None:
    table = pd.concat([published.split(name).table for name in ("train", "select", "test")])
    kinds = (
        {"yes": "verdict", "no": "verdict"}
        | dict.fromkeys(NAMED_COLORS, "color")
        | dict.fromkeys(NAMED_SHAPES, "shape")
    )
    found = set(zip(table["asks"], table["truth"].map(kinds), strict=True))
    assert found == {
        ("color", "color"),
        ("shape", "shape"),
        ("presence", "verdict"),
        ("absence", "verdict"),
    }
    assert set(table["names"]) == {"color", "shape", "neither"}
    assert table["text"].nunique() == 107
    assert not (
        table["text"].str.contains("|".join(NAMED_COLORS))
        & table["text"].str.contains("|".join(NAMED_SHAPES))
    ).any()


def test_the_published_splits_share_wordings_and_no_image(published: EasyVqa) -> None:
    train, select, test = (published.split(name) for name in ("train", "select", "test"))
    digests = [set(image_digests(split.images)) for split in (train, select, test)]
    assert [len(found) for found in digests] == [3_802, 198, 1_000]
    assert len(set.union(*digests)) == 5_000
    assert set(test.table["text"]) == set(train.table["text"])
    assert round(published.floor(train, test).accuracy, 3) == 0.668
