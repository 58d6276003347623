"""Removal of cells from a runs folder: which ones a filter chooses, and which are kept and why."""

from __future__ import annotations

import secrets
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fusion_bench.cells.current_inputs import CurrentInputs, changed_inputs
from fusion_bench.cells.folder import CellFolder, cell_folder, cell_folders
from fusion_bench.errors import FusionBenchError
from fusion_bench.lease import Lease, LeaseHeld, is_held
from fusion_bench.study.cell_status import CellStatus
from fusion_bench.study.last_run import read_last_run
from fusion_bench.study.run import study_folder
from fusion_bench.training.paths import RunPaths

CleanState = Literal["done", "stale", "failed", "unfinished", "unreadable"]
_REMOVED = ".removed-"
_DAY = 86400.0
_HELD = "held by a process"
_RUNNING = "of a study that is being run"
_SHARED = "that another study names"
_YOUNG = "without a result that a run may be about to train (begun less than a day ago)"


@dataclass(frozen=True)
class CellFilter:
    """Which cells are removed; what is given must all hold, and of the states one of those that are true.

    Attributes:
        stale, failed, unplanned: cells in this state; ``unplanned`` are those that no ``plan.json`` names any more.
        days: cells whose newest file is older.
        shared: also cells that a study names which was not asked for.
    """

    stale: bool = False
    failed: bool = False
    unplanned: bool = False
    days: float | None = None
    shared: bool = False


@dataclass(frozen=True)
class NamedCells:
    """The cells of the study that is asked for.

    Attributes:
        names: its name and those of its contexts.
        statuses: the states of the cells that it has today, by id.
    """

    names: frozenset[str]
    statuses: Mapping[str, CellStatus] = field(default_factory=dict)


@dataclass(frozen=True)
class ChosenCell:
    """A cell to remove, its state, and the bytes of all its files."""

    folder: CellFolder
    state: CleanState
    size: int


@dataclass(frozen=True)
class Cleaning:
    """What a filter chooses: the cells to remove, and how many others are kept for which reason."""

    chosen: tuple[ChosenCell, ...]
    kept: Mapping[str, int]


def choose_cells(wanted: CellFilter, study: NamedCells | None, paths: RunPaths) -> Cleaning:
    """Return the cells of a runs folder that a filter chooses; nothing is changed.

    Args:
        wanted: the filter.
        study: the study whose cells alone are looked at; None for all cells of the runs folder.
        paths: where runs and data lie.

    Raises:
        FusionBenchError: the ``plan.json`` of a study is damaged, so that it is not known which cells it names.
    """
    plans = _plans(paths.runs)
    named = {name: ids | _sources(ids, paths.runs) for name, ids in plans.items()}
    looked_at = None if study is None else _own(study, plans)
    others = {} if study is None else {name: ids for name, ids in named.items() if name not in study.names}
    running = {cell for name, ids in named.items() if is_held(study_folder(paths.runs, name)) for cell in ids}
    everywhere, elsewhere = set().union(*named.values()), set().union(*others.values())
    inputs, statuses = CurrentInputs(paths), {} if study is None else study.statuses
    chosen, kept = [], Counter[str]()
    for folder in cell_folders(paths.runs):
        if looked_at is not None and folder.id not in looked_at:
            continue
        state, changed = _state(folder, statuses.get(folder.id), inputs), _last_change(folder.path)
        states = {"stale": wanted.stale, "failed": wanted.failed}
        asked = states.get(state, False) or (wanted.unplanned and folder.id not in everywhere)
        if not (asked or not (wanted.stale or wanted.failed or wanted.unplanned)):
            continue
        age = time.time() - changed
        if wanted.days is not None and age < wanted.days * _DAY:
            continue
        if folder.busy:
            kept[_HELD] += 1
        elif folder.id in running:
            kept[_RUNNING] += 1
        elif folder.id in elsewhere and not wanted.shared:
            kept[_SHARED] += 1
        elif state == "unfinished" and age < _DAY:
            kept[_YOUNG] += 1
        else:
            chosen.append(ChosenCell(folder, state, _size(folder.path)))
    return Cleaning(tuple(chosen), kept)


def remove_cells(cells: Sequence[ChosenCell], runs: Path) -> Cleaning:
    """Remove cells and return those that were removed, and how many were kept.

    A cell is held while it is renamed out of the way, and then deleted: no process sees half a cell, and what an
    interruption leaves is deleted by the next call.
    """
    for left in runs.glob(f"{_REMOVED}*"):
        shutil.rmtree(left, ignore_errors=True)
    aside = runs / f"{_REMOVED}{secrets.token_hex(4)}"
    aside.mkdir()
    removed, kept = [], Counter[str]()
    for cell in cells:
        try:
            with Lease(cell.folder.path):
                cell.folder.path.rename(aside / cell.folder.id)
            removed.append(cell)
        except LeaseHeld:
            kept[_HELD] += 1
    shutil.rmtree(aside)
    return Cleaning(tuple(removed), kept)


def _plans(runs: Path) -> dict[str, set[str]]:
    """Return the ids of the cells that each study's last run planned, by the study's name."""
    folders = sorted((runs / "studies").glob("*/plan.json"))
    lasts = {file.parent.name: read_last_run(file.parent) for file in folders}
    return {name: {row.cell for row in last.cells} for name, last in lasts.items() if last is not None}


def _own(study: NamedCells, plans: Mapping[str, set[str]]) -> set[str]:
    return set(study.statuses).union(*(ids for name, ids in plans.items() if name in study.names))


def _sources(cells: set[str], runs: Path) -> set[str]:
    """Return the ids of the cells from whose weights some cells start."""
    found = set()
    for cell in cells:
        with suppress(FusionBenchError):  # not written, or damaged: what it starts from is not known
            source = cell_folder(runs, cell).config().source
            while source is not None:
                found.add(source.id)
                source = source.source
    return found


def _state(folder: CellFolder, status: CellStatus | None, inputs: CurrentInputs) -> CleanState:
    """Return the state of a cell; that of its study, which also compares it with other cells, where it is known."""
    if not folder.done:
        return "failed" if folder.failure is not None else "unfinished"
    if status is not None and status.state == "stale":
        return "stale"
    try:
        return "stale" if changed_inputs(folder.provenance(), inputs.of(folder.config())) else "done"
    except (FusionBenchError, OSError):
        return "unreadable"


def _last_change(folder: Path) -> float:
    """Return the time of the newest file of a cell; a lease says only when it was held."""
    times = [0.0]
    for file in folder.iterdir():
        if not file.name.startswith(("lease.", ".")):
            with suppress(FileNotFoundError):
                times.append(file.lstat().st_mtime)
    return max(times) or folder.stat().st_mtime


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += 0 if file.is_dir() else file.lstat().st_size
    return total
