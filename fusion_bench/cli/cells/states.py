"""The implementation of ``fusion-bench cells``: the cells of a study with their states, and submissions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from fusion_bench.cells.current_inputs import CurrentInputs
from fusion_bench.cells.folder import CellFolder
from fusion_bench.cli.open_study import OpenedStudy, open_as_last_run
from fusion_bench.cli.plan_settings import NOT_CHOSEN, space_to_search
from fusion_bench.errors import FusionBenchError
from fusion_bench.results.looks import StudyCells, study_cells
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.study.cell_status import (
    CellStatus,
    missing_files,
    missing_packages,
    not_compared,
)
from fusion_bench.study.last_run import with_earlier_settings
from fusion_bench.study.plan import plan_row
from fusion_bench.study.searching.samplers import missing_sampler_package
from fusion_bench.study.searching.search_results import search_result
from fusion_bench.study.submission import Author, authors_of, write_submissions
from fusion_bench.training.paths import RunPaths, parse_named_paths


def list_cells(
    file: Path, runs: Path, overrides: Sequence[str], data: Sequence[str], *, as_json: bool = False
) -> None:
    """Print all cells of a study."""
    opened = open_as_last_run(file, runs, overrides, data, device="cpu", data_workers=1)
    planned = planned_cells(opened)
    if as_json:
        typer.echo(json.dumps({"study": opened.study.name, **cells_json(opened, planned)}, indent=2))
        return
    table = Table("arm", "seed", "state", Column("cell", no_wrap=True), "reason", box=None)
    for item in planned.statuses:
        table.add_row(item.cell.arm, str(item.cell.seed), item.state, _id(item) or "", Text(item.reason))
    console().print(table)
    for line in planned.problems:
        console().print(line, markup=False, highlight=False, soft_wrap=True)


def export_submissions(
    source: Path, folder: Path, runs: Path, overrides: Sequence[str], data: Sequence[str]
) -> None:
    """Write submissions for the finished cells of a study, or for one cell named by its folder.

    Raises:
        FusionBenchError: see `fusion_bench.study.submission.write_submissions`.
    """
    if (source / "config.json").is_file():
        cell = CellFolder(source.resolve())
        roots = {name: root.expanduser().resolve() for name, root in parse_named_paths(list(data)).items()}
        authors: tuple[Author, ...] = (Author(cell, cell.id),)
        config, paths, left_out = cell.config().data, RunPaths(cell.path.parents[1], roots, {}), 0
    else:
        opened = open_as_last_run(source, runs, overrides, data, device="cpu", data_workers=1)
        study, paths = opened.study, opened.paths
        statuses = planned_cells(opened).statuses
        authors, config = authors_of(statuses, paths.runs), study.data
        left_out = len(statuses) - len(authors)
        if not authors and (reason := next((item.reason for item in statuses if item.reason), "")):
            raise FusionBenchError(f"no cell is done, so there are no predictions to submit: {reason}")
    files = write_submissions(authors, config, paths, folder)
    note = f" ({left_out} cells that are not done, or stale, are left out)" if left_out else ""
    typer.echo(f"{len(files)} files written to {folder}{note}")


@dataclass(frozen=True, eq=False)
class PlannedCells:
    """The states of a study's cells, and one sentence for each data set or weights that cannot all be read.

    Attributes:
        arms: the arms with the settings that the search chose, or as written if it is not finished.
        statuses: the state of each of their cells.
        problems: the sentences about data sets and weights.
        cells: the cells as they were planned.
    """

    arms: tuple[Arm, ...]
    statuses: tuple[CellStatus, ...]
    problems: tuple[str, ...]
    cells: StudyCells


def planned_cells(opened: OpenedStudy) -> PlannedCells:
    """Return the states of the cells of a study; nothing is generated, trained or decoded."""
    study, paths, inputs = opened.study, opened.paths, CurrentInputs(opened.paths)
    arms = _chosen_arms(study, paths)
    cells = cells_of_study(study, arms, paths, inputs)
    statuses = with_earlier_settings(cells.statuses, study.arms, opened.last, paths.runs)
    found = not_compared(statuses, inputs)
    problems = [f"the data of finished cells were not compared with today's: {problem}" for problem in found]
    problems += [problem for problem in missing_files(study.data_sets, paths) if problem not in found]
    problems += missing_packages((study, *study.contexts.values()))
    problems += filter(None, [missing_sampler_package(study.search.sampler) if study.search else ""])
    return PlannedCells(arms, statuses, tuple(problems), cells)


def _chosen_arms(study: Study, paths: RunPaths) -> tuple[Arm, ...]:
    try:
        return search_result(study, paths).arms
    except FusionBenchError:
        return study.arms


def cells_of_study(
    study: Study, arms: Sequence[Arm], paths: RunPaths, inputs: CurrentInputs | None = None
) -> StudyCells:
    """Return the cells that a study asks for; one whose settings a search has still to choose is missing."""
    not_chosen = {arm.label for arm in arms if space_to_search(study, arm)}
    cells = study_cells(study, arms, paths, inputs, searched=not not_chosen)

    def known(statuses: Sequence[CellStatus]) -> tuple[CellStatus, ...]:
        return tuple(
            CellStatus(item.cell, "missing", NOT_CHOSEN) if item.cell.arm in not_chosen else item
            for item in statuses
        )

    return replace(cells, statuses=known(cells.statuses), possible=known(cells.possible))


def _id(status: CellStatus) -> str | None:
    """Return the id of a cell; None while a search has still to choose its settings, which the id hashes."""
    return None if status.reason == NOT_CHOSEN else status.cell.id


def cells_json(opened: OpenedStudy, planned: PlannedCells) -> dict[str, Any]:
    """Return as JSON how the study was read, its cells, and how many are in each state and for which reason."""
    statuses = planned.statuses
    counts = Counter(item.state for item in statuses)
    reasons = Counter((item.state, item.reason) for item in statuses if item.reason)
    return {
        "overrides": list(opened.study.overrides),
        "states": {state: counts[state] for state in ("done", "failed", "stale", "missing")},
        "reasons": [
            {"state": state, "reason": reason, "cells": count} for (state, reason), count in reasons.items()
        ],
        "data_problems": list(planned.problems),
        "cells": [
            {**plan_row(item.cell), "cell": _id(item), "state": item.state, "reason": item.reason}
            for item in statuses
        ],
    }


def console() -> Console:
    """Return the console; in a pipe or a file every row is on one line, so that it can be searched."""
    console = Console()
    if not console.is_terminal:
        console.width = 1000
    return console


def bytes_text(size: float) -> str:
    """Return a number of bytes as a reader wants it: ``3.4 MB``."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
