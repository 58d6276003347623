"""Files, classes, functions and links that the README and ``docs/`` name are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from document_rooms import layers
from fusion_bench.contract import TextEncoder
from fusion_bench.samples.dataset import DataSet
from fusion_bench.tasks.task import Task

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

FOLDERS = "fusion_bench|modules|tests|tools|studies|docs|reports|examples|\\.ci"
FILE = re.compile(rf"(?<![\w/.<-])((?:{FOLDERS})/[\w./+-]*[\w/])(?![\w<])")
DOTTED = re.compile(r"`(fusion_bench(?:\.\w+)+)(?::(\w+))?`")
GROUPS = {
    f"fusion_bench.{kind}"
    for kind in ("modules", "networks", "text_encoders", "datasets", "tasks", "commands")
}
LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)#\s]*)(?:#[^)]*)?\)|!\[[^]]*\]\(([^)\s]*)\)")


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name: str) -> None:
    named = set(FILE.findall((ROOT / name).read_text(encoding="utf-8")))
    assert not {file for file in named if not (ROOT / file).exists()}


def test_the_search_for_files_finds_them() -> None:
    text = "see `fusion_bench/nowhere.py`, reports/<name>/ and [x](../how-to/docs/a.md)"
    assert FILE.findall(text) == ["fusion_bench/nowhere.py"]


@pytest.mark.parametrize("name", NAMES)
def test_python_names_exist(name: str) -> None:
    for dotted, cls in DOTTED.findall((ROOT / name).read_text(encoding="utf-8")):
        if dotted not in GROUPS:
            assert _found([*dotted.split("."), *([cls] if cls else [])]), (dotted, cls)


def _found(parts: list[str]) -> bool:
    """Import the longest part that is a module and look the rest up in it."""
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part) and part not in getattr(found, "__annotations__", {}):
                return False
            found = getattr(found, part, None)
        return True
    return False


def test_a_name_that_is_not_there_is_not_found() -> None:
    assert _found(["fusion_bench", "statistics", "comparison", "holm"])
    assert not _found(["fusion_bench", "statistics", "comparison", "bonferroni"])


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for link, picture in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
        target = link or picture
        if target and "://" not in target:
            assert ((ROOT / name).parent / target).exists(), target


@pytest.mark.parametrize(
    ("page", "cls"), [("add_a_data_set", DataSet), ("add_a_task", Task), ("add_a_text_encoder", TextEncoder)]
)
def test_what_a_how_to_says_to_write_is_part_of_the_class(page: str, cls: type[object]) -> None:
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)[`(]", row)]
    assert len(named) > 3
    declared = {
        name for base in cls.__mro__ for name in (*vars(base), *vars(base).get("__annotations__", {}))
    }
    assert set(named) <= declared


def test_the_architecture_names_every_room() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    for room in (room for layer in layers(ROOT / "pyproject.toml") for room in layer):
        assert f"`fusion_bench/{room}/`" in page or f"`fusion_bench/{room}.py`" in page, room


def test_the_architecture_numbers_the_layers_as_the_import_rule_does() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `fusion_bench/(\w+)(?:/|\.py)` \|", page, flags=re.MULTILINE)
    written = {room: int(number) for number, room in rows}
    ordered = reversed(layers(ROOT / "pyproject.toml"))
    assert written == {room: number for number, rooms in enumerate(ordered, 1) for room in rooms}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100
