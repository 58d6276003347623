"""The finished cells of one runs folder, copied into another; nothing there is overwritten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from fusion_bench.cells.folder import CellFolder, cell_folder, cell_folders
from fusion_bench.cells.result import Circumstances
from fusion_bench.errors import FusionBenchError
from fusion_bench.lease import LeaseHeld
from fusion_bench.study.archive import checked_copy, plain_files, put_in_place


@dataclass(frozen=True)
class Merged:
    """What a merge found, by the ids of cells.

    Attributes:
        copied: cells that were copied.
        equal: cells whose result is there already.
        conflicts: why a cell was not copied that has another result there, by id.
        refused: why a cell was not copied that is damaged here, or is being trained there, by id.
        unfinished: how many cells have no result here.
        mixed: a sentence if the copied cells and those there would not be compared with each other; else empty.
    """

    copied: tuple[str, ...]
    equal: tuple[str, ...]
    conflicts: dict[str, str]
    refused: dict[str, str]
    unfinished: int
    mixed: str = ""


def merge_cells(source: Path, runs: Path) -> Merged:
    """Copy the finished cells of a runs folder into another one; caches, plans and reports are made by the next run.

    Each cell is copied aside and checked whole first, as an import does. A result that is there already is kept.

    Args:
        source: the runs folder to copy from.
        runs: the runs folder to copy into.

    Raises:
        FusionBenchError: ``source`` holds no cells, or both are the same folder.
    """
    if not (source / "cells").is_dir():
        raise FusionBenchError(f"{source} is no runs folder: it has no folder 'cells'")
    if source.resolve() == runs.resolve():
        raise FusionBenchError(f"{source} and {runs} are the same folder")
    copied: list[str] = []
    equal: list[str] = []
    conflicts: dict[str, str] = {}
    refused: dict[str, str] = {}
    unfinished = 0
    runs.mkdir(parents=True, exist_ok=True)
    before = _circumstances([folder for folder in cell_folders(runs) if folder.done])
    with TemporaryDirectory(dir=runs, prefix=".merge-") as aside:
        for given in cell_folders(source):
            own = cell_folder(runs, given.id)
            try:
                if not plain_files(given.path).get("DONE"):
                    unfinished += 1
                elif own.done and (difference := _difference(given, own)):
                    conflicts[given.id] = difference
                elif own.done:
                    equal.append(given.id)
                else:
                    put_in_place(checked_copy(given.path, Path(aside) / given.id), own)
                    copied.append(given.id)
            except LeaseHeld:
                refused[given.id] = f"the cell {own.path} is being trained right now; merge again after that"
            except FusionBenchError as error:
                refused[given.id] = str(error)
    after = _circumstances([cell_folder(runs, cell) for cell in copied])
    return Merged(tuple(copied), tuple(equal), conflicts, refused, unfinished, _mixed(before, after))


def _difference(given: CellFolder, own: CellFolder) -> str:
    """Return what differs between two results of one cell as a phrase; empty if nothing does that counts.

    Raises:
        FusionBenchError: one of them is damaged.
    """
    one, other = given.provenance(), own.provenance()
    names = [item.name for item in fields(one) if item.name in _COMPARED and _differ(one, other, item.name)]
    if names:
        return "its " + ", ".join(f"{_COMPARED[name]} differs" for name in names)
    return "" if given.result() == own.result() else "its values differ although its sources are the same"


_COMPARED = {
    "module": "module's source",
    "numerics": "harness's numerics",
    "data": "data",
    "weights": "backbone's weights",
    "start": "starting weights",
    "torch": "version of torch",
    "timm": "version of timm",
    "device_kind": "kind of device",
}
"""What two results of a cell must have in common, and its name in a message."""


def _differ(one: object, other: object, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def _circumstances(folders: Sequence[CellFolder]) -> Counter[tuple[str, str, str]]:
    """Return how many cells were trained with which torch, timm and kind of device; damaged ones do not count."""
    found: Counter[tuple[str, str, str]] = Counter()
    for folder in folders:
        try:
            found[_kind(folder.provenance().circumstances)] += 1
        except FusionBenchError:
            continue
    return found


def _kind(circumstances: Circumstances) -> tuple[str, str, str]:
    return circumstances.torch, circumstances.timm, circumstances.device_kind


def _mixed(before: Counter[tuple[str, str, str]], after: Counter[tuple[str, str, str]]) -> str:
    if not before or set(before) == set(before | after):
        return ""
    shown = [
        "; ".join(
            f"{count} with torch {torch}, timm {timm}, {device}"
            for (torch, timm, device), count in kinds.items()
        )
        for kinds in (after, before)
    ]
    return (
        f"copied: {shown[0]}; there before: {shown[1]}. A report compares cells of one kind only and shows the "
        "others as stale"
    )
