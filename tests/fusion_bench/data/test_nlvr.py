"""The NLVR adapter on one example that is written here, and on the published files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fusion_bench.data.nlvr import Nlvr
from fusion_bench.errors import DataError

SQUARE = {"type": "square", "color": "Black", "size": 20, "x_loc": 40, "y_loc": 80}


def example(**changes: Any) -> dict[str, Any]:
    record = {
        "sentence": "There is a black block.",
        "label": "true",
        "identifier": "12-3",
        "directory": "5",
        "evals": {},
        "structured_rep": [[SQUARE], [SQUARE], [SQUARE | {"y_loc": 59}]],
    }
    return {key: value for key, value in (record | changes).items() if value is not None}


def write(root: Path, split: str, lines: list[str], name: str | None = None, directory: str = "5") -> Path:
    images = root / split / "images" / directory
    images.mkdir(parents=True, exist_ok=True)
    for k in range(6):
        (images / f"{split}-12-3-{k}.png").write_bytes(b"png")
    path = root / split / (name or f"{split}.json")
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "train", [json.dumps(example())], "train_recovered.json")
    write(tmp_path, "dev", [json.dumps(example(structured_rep=[[SQUARE | {"x_loc": 7}], [], []]))])
    write(tmp_path, "test", [json.dumps(example(label="false"))])
    write(tmp_path, "hidden", [json.dumps(example(directory=None, evals=None))])
    return tmp_path


def test_each_box_order_is_a_sample(root: Path) -> None:
    data = Nlvr(root)
    data.prepare()
    split = data.split("hidden")
    assert list(split.table["sample"]) == [f"hidden-12-3-{k}" for k in range(6)]
    assert set(split.table["cluster"]) == {"hidden-12"}
    assert [path.relative_to(root).as_posix() for path in split.images] == [
        f"hidden/images/5/hidden-12-3-{k}.png" for k in range(6)
    ]
    assert set(split.table["words"]) == {"up to 8"}
    assert set(split.table["picture"]) == {"tower"}
    assert set(data.split("dev").table["picture"]) == {"scatter"}


def test_the_official_train_file_is_preferred(root: Path) -> None:
    before = Nlvr(root).manifest()
    assert set(Nlvr(root).split("train").table["truth"]) == {"true"}
    write(root, "train", [json.dumps(example(label="false"))])
    assert set(Nlvr(root).split("train").table["truth"]) == {"false"}
    assert Nlvr(root).manifest() != before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        (json.dumps(example(label="True")), "line 2 .* the label 'True'"),
        (json.dumps(example(identifier="12")), "line 2 .* not of the form n-m"),
        (json.dumps(example(sentence=None)), "line 2 .* the key 'sentence' is missing"),
        (json.dumps(example()), "an identifier twice"),
        (json.dumps(example(identifier="13-0")), "images/5/dev-13-0-0.png is missing in"),
        (
            json.dumps(example(identifier="12-4", structured_rep=[[{"type": "square"}]])),
            "the key 'size' is missing",
        ),
        ("[1]", "line 2 is not an NLVR example"),
    ],
)
def test_bad_lines_are_named(root: Path, line: str, message: str) -> None:
    write(root, "dev", [json.dumps(example()), line])
    with pytest.raises(DataError, match=message):
        Nlvr(root).split("dev")


def test_byte_order_marks_blank_lines_and_line_ends_of_windows_are_read(root: Path) -> None:
    """The separators U+2028 and U+0085 are part of a sentence."""
    sentence = "There is\u2028a black\u0085block."
    line = json.dumps(example(sentence=sentence), ensure_ascii=False)
    (root / "dev" / "dev.json").write_bytes(f"\ufeff{line}\r\n\r\n\n".encode())
    assert set(Nlvr(root).split("dev").table["text"]) == {sentence}


def test_half_of_a_surrogate_pair_is_named_with_its_line(root: Path) -> None:
    write(root, "dev", [json.dumps(example(sentence="black \ud83d block"))])
    with pytest.raises(DataError, match=r"dev\.json, line 1 .*half of a surrogate pair"):
        Nlvr(root).split("dev")


def test_an_image_in_another_directory_than_stated_is_refused(root: Path) -> None:
    write(root, "dev", [json.dumps(example(directory="6"))])
    with pytest.raises(DataError, match=r"images/6/dev-12-3-0\.png is missing in"):
        Nlvr(root).split("dev")


def test_missing_files_are_named(root: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'"):
        Nlvr(root).split("val")
    (root / "hidden" / "hidden.json").unlink()
    with pytest.raises(DataError, match=r"hidden\.json does not exist; it is published at https://"):
        Nlvr(root).prepare()


# Examples, sentence groups, distinct sentences, true %, tower pictures, and what always answering "true"
# scores with the official script (accuracy %, consistency %; not measured on train).
PUBLISHED = {
    "train": (3_523, 894, 775, 57.00, 1_657, None),
    "dev": (989, 267, 249, 55.31, 676, (55.31, 6.37)),
    "test": (990, 266, 247, 56.16, 712, (56.16, 10.90)),
    "hidden": (985, 266, 256, 55.43, 671, (55.43, 8.65)),
}


@pytest.mark.pack
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_files_have_the_known_counts(packs: Path, name: str) -> None:
    examples, groups, sentences, true, towers, always_true = PUBLISHED[name]
    data = Nlvr(packs / "nlvr")
    split = data.split(name)
    table = split.table
    right = table["truth"] == "true"
    assert len(split) == len(split.images) == 6 * examples
    assert table["sample"].is_unique
    assert table["cluster"].nunique() == groups
    assert table["text"].nunique() == sentences
    assert round(100 * right.mean(), 2) == true
    assert (table["picture"] == "tower").sum() == 6 * towers
    assert set(table["words"]) == {"up to 8", "9-11", "12-14", "15 and more"}
    if always_true:
        consistency = right.groupby(table["cluster"]).all().mean()
        assert (round(100 * right.mean(), 2), round(100 * consistency, 2)) == always_true
        assert round(100 * data.floor(data.split("train"), split).accuracy, 2) == always_true[0]


@pytest.mark.pack
def test_the_position_is_in_the_sample_id_alone(packs: Path) -> None:
    """Positions A and B are nearly always true, so a model that knows the position knows the label."""
    table = Nlvr(packs / "nlvr").split("dev").table
    position = table["sample"].str.split("-").str[2]
    true_share = (table["truth"] == "true").groupby(position).mean()
    assert true_share["0"] > 0.95
    assert true_share["3"] < 0.2
    assert list(table.columns) == ["sample", "cluster", "image", "text", "truth", "picture", "words"]
    assert all(re.fullmatch(r"dev-\d+", cluster) for cluster in table["cluster"])
    assert (table.groupby("cluster")["text"].nunique() == 1).all()
