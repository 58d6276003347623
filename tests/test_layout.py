"""The layout of the repository: small folders, short files, one public name for one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "fusion_bench", ROOT / "modules" / "fusion_modules")
ONE_MODULE_PER_FILE = ROOT / "modules" / "fusion_modules"
MOST_FILES, MOST_LINES = 15, 400
RETIRED = frozenset(
    {
        "Places", "Materials", "Examples", "Feeder", "Shelf", "Ran", "Finished", "Trained", "Replayed", "Revived",
        "eye", "ear", "met", "declaring", "drawing", "hashed", "bound", "doubts", "Standing", "standing", "told",
    }
)  # fmt: skip
"""Names that readers had to have translated."""
SHARED = frozenset({"main"})
"""Public names that several modules may define: a program's entry point."""


def python_files(*folders: Path) -> list[Path]:
    return [file for folder in folders for file in sorted(folder.rglob("*.py"))]


def defined_names(tree: ast.Module) -> Iterator[str]:
    """Every name that a file defines: functions, classes, parameters, variables and attributes of self."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def public_names(tree: ast.Module) -> Iterator[str]:
    """The functions, classes and constants that a module offers; type variables are nobody's."""
    for node in tree.body:
        names: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not _is_type_variable(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        yield from (name for name in names if not name.startswith("_"))


def _is_type_variable(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "TypeVar"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_folder_holds_more_files_than_one_can_survey(package: Path) -> None:
    folders = {file.parent for file in python_files(package)} - {ONE_MODULE_PER_FILE}
    crowded = {
        str(folder.relative_to(ROOT)): len(files)
        for folder in folders
        if len(files := [*folder.glob("*.py")]) - 1 > MOST_FILES
    }
    assert not crowded


def test_no_python_file_is_longer_than_one_can_read() -> None:
    folders = (*PACKAGES, ROOT / "tests", ROOT / "tools", ROOT / "examples", ROOT / "docs")
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for file in python_files(*folders)
    }
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_retired_names_do_not_come_back() -> None:
    found = {
        (str(file.relative_to(ROOT)), name)
        for file in python_files(*PACKAGES, ROOT / "tests", ROOT / "tools", ROOT / "examples")
        for name in defined_names(ast.parse(file.read_text(encoding="utf-8")))
        if name in RETIRED
    }
    assert not found


def test_no_two_public_things_share_a_name() -> None:
    homes = defaultdict(list)
    for file in python_files(*PACKAGES):
        for name in public_names(ast.parse(file.read_text(encoding="utf-8"))):
            homes[name].append(str(file.relative_to(ROOT)))
    shared = {name: files for name, files in homes.items() if len(files) > 1 and name not in SHARED}
    assert not shared
