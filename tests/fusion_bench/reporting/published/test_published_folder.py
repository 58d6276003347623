"""A published folder by somebody else: what is no study is one sentence, and nothing outside it is touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.publish import load, save
from fusion_bench.reporting.report.report import rebuild
from fusion_bench.results.results import StudyResults

Make = Callable[..., StudyResults]


@pytest.fixture(scope="module")
def saved(make_results: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder, not to be changed."""
    folder = tmp_path_factory.mktemp("saved") / "out"
    save(make_results(seeds=2, clusters=6), folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A published folder, to be changed."""
    return Path(shutil.copytree(saved, tmp_path / "out"))


def sentence(folder: Path) -> str:
    """The one sentence with which a folder is refused."""
    with pytest.raises(FusionBenchError) as refused:
        load(folder)
    message = str(refused.value)
    assert "\n" not in message and len(message) < 1000
    assert str(folder) in message
    return message


def change(folder: Path, **values: Any) -> None:
    """Overwrite keys of ``study.json``."""
    file = folder / "study.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "no mapping"),
        ("3", "no mapping"),
        ("{}", "another report format"),
        ("[" * 100_000, "not JSON"),
        ('{"format": ' + "9" * 5000 + "}", "not JSON"),
        ('{"format": 1}', "Field required"),
        ("\udcff", "not JSON"),
    ],
)
def test_study_json_that_is_no_study(folder: Path, content: str, said: str) -> None:
    (folder / "study.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert said in sentence(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("arms", {}),
        ("arms", [1]),
        ("arms", [{"label": "film"}]),
        ("setup", ["abc"]),
        ("setup", [["a", "b", "c"]]),
        ("name", None),
        ("margin", "wide"),
        ("evaluate_splits", "test"),
        ("environment", {"device": ["cpu"]}),
        ("floors", [{"name": "x"}]),
        ("pictures", "all"),
        ("contexts", ["a"]),
        ("contexts", {"a": "/etc"}),
        ("contexts", {"..": "contexts/"}),
        ("reference", "nobody"),
        ("shows", "video"),
        ("shows", "box"),
        ("slices", ["unknown"]),
        ("measures", ["iou"]),
        ("unheard_of", 1),
        ("format", "1"),
    ],
)
def test_a_value_of_another_shape_is_named(folder: Path, key: str, value: Any) -> None:
    change(folder, **{key: value})
    message = sentence(folder)
    assert key in message or str(value).strip("[]'") in message or "context" in message or "iou" in message


def test_two_arms_of_one_label_are_refused(folder: Path) -> None:
    arms = json.loads((folder / "study.json").read_text())["arms"]
    change(folder, arms=[*arms, arms[0]])
    assert "two arms have one label" in sentence(folder)


@pytest.mark.parametrize(
    ("file", "column", "value", "said"),
    [
        ("results.parquet", "seed", "zero", "holds .*string, not whole numbers"),
        ("results.parquet", "value", "much", "not numbers"),
        ("results.parquet", "state", 7, "not text"),
        ("results.parquet", "arm", "nobody", "no arm of study.json"),
        ("results.parquet", "metric", None, "lacks the column 'metric'"),
        ("curves.parquet", "epoch", "first", "not numbers"),
        ("curves.parquet", "arm", "nobody", "no arm of study.json"),
        ("samples.parquet", "truth", 1.5, "not text"),
        ("samples.parquet", "cluster", None, "lacks the column 'cluster'"),
        ("samples.parquet", "prediction/nobody/0", "yes", "no arm of study.json"),
        ("samples.parquet", "prediction/film/first", "yes", "no label with a seed"),
        ("samples.parquet", "prediction/film/0", 3, "not text"),
        ("samples.parquet", "score/film/0", "high", "not numbers"),
    ],
)
def test_a_table_of_another_shape_is_named(
    folder: Path, file: str, column: str, value: object, said: str
) -> None:
    table = pd.read_parquet(folder / file)
    changed = table.drop(columns=column) if value is None else table.assign(**{column: value})
    changed.to_parquet(folder / file)
    with pytest.raises(FusionBenchError, match=said):
        load(folder)
    assert file in sentence(folder)


@pytest.mark.parametrize(
    "written", ["/etc/passwd", "../secret.png", "pictures/../../secret.png", "link.png", "a\0b"]
)
def test_a_picture_outside_the_folder_is_not_read(folder: Path, written: str) -> None:
    secret = folder.parent / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    (folder / "link.png").symlink_to(secret)
    pictures = json.loads((folder / "study.json").read_text())["pictures"]
    change(folder, pictures=[{**pictures[0], "image": written}])
    assert "lies outside of it" in sentence(folder)


@pytest.mark.parametrize("file", ["results.parquet", "samples.parquet", "curves.parquet", "pictures"])
def test_a_link_out_of_the_folder_is_not_followed(folder: Path, file: str) -> None:
    shutil.move(folder / file, folder.parent / file)
    (folder / file).symlink_to(folder.parent / file)
    assert "lies outside of it" in sentence(folder)


def test_a_context_and_figures_outside_are_neither_read_nor_written(folder: Path) -> None:
    outside = folder.parent / "outside"
    save(load(folder), outside)
    for name in ("arms.png", "samples.png"):
        (outside / name).write_text("mine")
    (folder / "contexts").mkdir()
    (folder / "contexts" / "a").symlink_to(outside)
    change(folder, contexts={"a": "contexts/a"})
    assert "lies outside of it" in sentence(folder)
    change(folder, contexts={})
    (folder / "figures").symlink_to(outside)
    with pytest.raises(FusionBenchError, match="lies outside of it"):
        rebuild(folder)
    assert {(outside / name).read_text() for name in ("arms.png", "samples.png")} == {"mine"}


def test_what_is_no_file_or_no_picture_is_named(folder: Path) -> None:
    pictures = json.loads((folder / "study.json").read_text())["pictures"]
    change(folder, pictures=pictures[:1])
    picture = folder / pictures[0]["image"]
    picture.write_bytes(picture.read_bytes()[:60])
    with pytest.raises(FusionBenchError, match=rf"{picture} is damaged or not an image"):
        rebuild(folder)
    picture.unlink()
    os.mkfifo(picture)
    assert f"the picture {picture} is missing" in sentence(folder)
    (folder / "curves.parquet").unlink()
    os.mkfifo(folder / "curves.parquet")
    assert "curves.parquet does not exist" in sentence(folder)


def test_a_folder_may_itself_be_reached_by_a_link(folder: Path) -> None:
    link = folder.parent / "link=1"
    link.symlink_to(folder)
    assert load(link).name == "invented"
