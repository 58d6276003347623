"""The implementation of ``fusion-bench plan`` and ``cells``: the cells of a study and their states."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from fusion_bench.cells.folder import CellFolder
from fusion_bench.cli.open_study import open_study, paths_of
from fusion_bench.cli.plan_settings import NOT_CHOSEN, settings_json, settings_text, space_to_search
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.arms import Arm, BudgetMatch, settings_of
from fusion_bench.spec.study import Study
from fusion_bench.study.archive import export_cells
from fusion_bench.study.cell_status import CellStatus, cell_status
from fusion_bench.study.plan import confirm_cells, plan_row
from fusion_bench.study.search_results import search_result, with_choices
from fusion_bench.study.submission import Author, authors_of, write_submissions
from fusion_bench.training.paths import RunPaths, parse_named_paths


def show_plan(
    file: Path,
    runs: Path,
    overrides: Sequence[str],
    data: Sequence[str],
    *,
    as_json: bool,
    export: Path | None,
) -> None:
    """Print the plan; with ``export``, also write the cells that are not done into that folder.

    Raises:
        StudyFileError: the study file has problems.
        FusionBenchError: the cells cannot be exported, because the search of the study is not finished or the cells
            from which they start are not trained.
    """
    study = open_study(file, overrides)
    paths = paths_of(study, runs, data, device="cpu", data_workers=1)
    arms = _arms(study, paths)
    statuses = _statuses(study, arms, paths)
    if as_json:
        rows = [
            {**plan_row(item.cell), "cell": _id(item), "state": item.state, "reason": item.reason}
            for item in statuses
        ]
        settings = {arm.label: settings_json(study, arm) for arm in arms}
        shown = {"study": study.name, "reference": study.reference, **_budget(study, arms), "arms": settings}
        typer.echo(json.dumps({**shown, "cells": rows}, indent=2))
    else:
        _print_arms(study, arms, statuses)
    if export is not None:
        search = search_result(study, paths)  # raises if the search is not finished
        around = [with_choices(context, search) for context in study.contexts.values()]
        everywhere = [item for context in around for item in _statuses(context, context.arms, paths)]
        _export([*statuses, *everywhere], export, paths.runs, say_on_stderr=as_json)


def _export(statuses: Sequence[CellStatus], folder: Path, runs: Path, *, say_on_stderr: bool) -> None:
    """Write the missing and failed cells for another machine.

    Stale cells are left out: the import would refuse them, because their old result is still here.
    """
    exported = [
        item.cell for item in statuses if item.state in {"missing", "failed"} and not item.cell.abandoned
    ]
    stale = sum(item.state == "stale" for item in statuses)
    message = f"{export_cells(exported, folder.resolve(), runs)} cells written to {folder}; see HOW_TO_RUN.txt there"
    if stale:
        message += f" ({stale} stale cells left out: run the study with --retry-stale for those)"
    typer.echo(message, err=say_on_stderr)


def list_cells(file: Path, runs: Path, overrides: Sequence[str], data: Sequence[str]) -> None:
    """Print all cells of a study."""
    study = open_study(file, overrides)
    paths = paths_of(study, runs, data, device="cpu", data_workers=1)
    table = Table("arm", "seed", "state", Column("cell", no_wrap=True), "reason", box=None)
    for item in _statuses(study, _arms(study, paths), paths):
        table.add_row(item.cell.arm, str(item.cell.seed), item.state, _id(item) or "", Text(item.reason))
    _console().print(table)


def export_submissions(
    source: Path, folder: Path, runs: Path, overrides: Sequence[str], data: Sequence[str]
) -> None:
    """Write submissions for the finished cells of a study, or for one cell named by its folder.

    Raises:
        FusionBenchError: see `fusion_bench.study.submission.write_submissions`.
    """
    if source.is_dir():
        cell = CellFolder(source.resolve())
        roots = {name: root.expanduser().resolve() for name, root in parse_named_paths(list(data)).items()}
        authors: tuple[Author, ...] = (Author(cell, cell.id),)
        config, paths, left_out = cell.config().data, RunPaths(cell.path.parents[1], roots, {}), 0
    else:
        study = open_study(source, overrides)
        paths = paths_of(study, runs, data, device="cpu", data_workers=1)
        statuses = _statuses(study, _arms(study, paths), paths)
        authors, config = authors_of(statuses, paths.runs), study.data
        left_out = len(statuses) - len(authors)
    files = write_submissions(authors, config, paths, folder)
    note = f" ({left_out} cells that are not done, or stale, are left out)" if left_out else ""
    typer.echo(f"{len(files)} files written to {folder}{note}")


def _arms(study: Study, paths: RunPaths) -> tuple[Arm, ...]:
    """Return the arms with the settings that the search chose, or as written if it is not finished."""
    try:
        return search_result(study, paths).arms
    except FusionBenchError:
        return study.arms


def _statuses(study: Study, arms: Sequence[Arm], paths: RunPaths) -> list[CellStatus]:
    """Return the state of every cell; one whose settings a search has still to choose is missing."""
    not_chosen = {arm.label for arm in arms if space_to_search(study, arm)}
    return [
        CellStatus(cell, "missing", NOT_CHOSEN) if cell.arm in not_chosen else cell_status(cell, paths)
        for cell in confirm_cells(arms, study.seeds)
    ]


def _id(status: CellStatus) -> str | None:
    """Return the id of a cell; None while a search has still to choose its settings, which the id hashes."""
    return None if status.reason == NOT_CHOSEN else status.cell.id


def _console() -> Console:
    """Return the console; in a pipe or a file every row is on one line, so that it can be searched."""
    console = Console()
    if not console.is_terminal:
        console.width = 1000
    return console


def _print_arms(study: Study, arms: Sequence[Arm], statuses: Sequence[CellStatus]) -> None:
    console = _console()
    console.print(f"{study.name}: {study.title}", highlight=False)
    table = Table("arm", "role", "component", "settings", "seeds", "states", box=None)
    if study.budget is not None:
        console.print(study.budget.sentence(), highlight=False)
        table.add_column("from the budget")
    for arm in arms:
        own = [item for item in statuses if item.cell.arm == arm.label]
        states = Counter(item.state for item in own)
        seeds = ", ".join(str(item.cell.seed) for item in own)
        shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        distance = [_distance(arm.budget_match)] if arm.budget_match is not None else []
        row = (arm.label, arm.role, arm.component, settings_text(study, arm), seeds, shown, *distance)
        table.add_row(*map(Text, row))
    console.print(table)
    if study.search is not None:
        cells = study.search.trials * len(study.search.seeds) * len(study.arms)
        console.print(f"before these, {cells} search cells ({study.search.trials} trials per arm)")
    console.print(f"{len(statuses)} cells in all")
    for label, context in study.contexts.items():
        budget = f"; {context.budget.sentence()}" if context.budget is not None else ""
        count = len(context.arms) * len(context.seeds)
        line = f"{count} cells of the same arms under {label} (study {context.name}){budget}"
        console.print(line, highlight=False)


def _distance(match: BudgetMatch) -> str:
    distance = "unknown" if match.distance is None else f"{match.distance:+.1%}"
    return f"{distance}, not ranked: {match.unranked}" if match.unranked else distance


def _budget(study: Study, arms: Sequence[Arm]) -> dict[str, Any]:
    """Return the budget as JSON: what is matched, and the width and distance of each arm; empty without a budget."""
    budget = study.budget
    if budget is None:
        return {}
    matched = {
        arm.label: {
            "width": settings_of(arm.config, [knob.argument]) if knob is not None else {},
            "distance": arm.budget_match.distance,
            "unranked": arm.budget_match.unranked,
        }
        for arm in arms
        if arm.budget_match is not None
        for knob in [budget.widths.get(arm.label)]
    }
    return {
        "budget": {
            "match": budget.match,
            "target": budget.target,
            "tolerance": budget.tolerance,
            "arms": matched,
        }
    }
