"""The implementation of ``fusion-bench cells show``: what a cell was asked, and the text of its modules."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.errors import FusionBenchError


def show_cell(cell: str, runs: Path) -> None:
    """Print what a cell was asked, and the text of every module that it carries; nothing is imported or run.

    Args:
        cell: an id in the runs folder, or the folder of a cell, such as ``bundle/cells/ID``.
        runs: the runs folder.

    Raises:
        FusionBenchError: there is no such cell, or its ``config.json`` is damaged or belongs to another cell.
    """
    given = Path(cell)
    folder = CellFolder(given.resolve()) if given.is_dir() else cell_folder(runs, cell)
    if not folder.path.is_dir():
        raise FusionBenchError(f"there is no cell {cell} in {runs / 'cells'}, and no folder of that name")
    asked = folder.config().to_json()
    texts = list(_taken_texts(asked, ""))
    typer.echo(visible(json.dumps(asked, indent=2, ensure_ascii=False)))
    for place, reference, text in texts:
        typer.echo(
            visible(f"\n--- the text of {reference} ({place}), which runs when this cell is trained ---")
        )
        typer.echo(visible(text))
    if not texts:
        typer.echo(
            "\nThe cell carries no module text; it imports the installed classes that are named above."
        )


def _taken_texts(value: Any, place: str) -> Iterator[tuple[str, str, str]]:
    """Yield place, reference and text of each module in a configuration; a pointer to it is left in its stead."""
    if isinstance(value, list):
        for item in value:
            yield from _taken_texts(item, place)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("reference"), str) and isinstance(value.get("source"), str):
        yield place, value["reference"], value["source"]
        value["source"] = "(printed below)"
    for key, item in value.items():
        yield from _taken_texts(item, f"{place}.{key}" if place else key)


def visible(text: str) -> str:
    """Return the text with every sign that a terminal would obey, or not show, written as its escape."""
    return "".join(
        sign
        if sign in "\n\t" or unicodedata.category(sign) not in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
        else sign.encode("unicode_escape", "surrogatepass").decode("ascii")
        for sign in text
    )
