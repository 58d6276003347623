"""The implementation of ``fusion-bench plan``: arms, cells, the time that they take, and what they can decide."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from fusion_bench.cli.cells.states import bytes_text, cells_json, cells_of_study, console, planned_cells
from fusion_bench.cli.open_study import open_as_last_run
from fusion_bench.cli.plan_looks import looks_json, looks_lines
from fusion_bench.cli.plan_settings import settings_json, settings_text
from fusion_bench.reporting.decidable.decidable import decidable
from fusion_bench.reporting.decidable.sentences import decidable_sentences, few_seeds
from fusion_bench.serialisation import to_json
from fusion_bench.spec.arms import Arm, BudgetMatch, settings_of
from fusion_bench.spec.study import Search, Study
from fusion_bench.study.archive import export_cells
from fusion_bench.study.cell_status import CellStatus
from fusion_bench.study.estimate import StudyEstimate, estimate_rest
from fusion_bench.study.searching.search_results import make_searches, search_result, with_choices


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
    opened = open_as_last_run(file, runs, overrides, data, device="cpu", data_workers=1)
    study, paths = opened.study, opened.paths
    planned = planned_cells(opened)
    statuses = planned.statuses
    estimate = estimate_rest(study, statuses, opened.last, paths)
    most = estimate_rest(study, planned.cells.possible, opened.last, paths)
    few, found = few_seeds(study, planned.arms), decidable(study, planned.arms, statuses, paths)
    if as_json:
        shown = {
            "study": study.name,
            "reference": study.reference,
            **_budget(study, planned.arms),
            "arms": {arm.label: settings_json(study, arm) for arm in planned.arms},
            **cells_json(opened, planned),
            "estimate": to_json(estimate),
            **looks_json(planned.cells, to_json(most)),
            "few_seeds": few,
            "decidable": to_json(found),
        }
        typer.echo(json.dumps(shown, indent=2))
    else:
        _print_arms(study, planned.arms, statuses)
        decides = (
            [] if found is None else decidable_sentences(found, study.data.adapter.target.load().cluster)
        )
        looks = looks_lines(planned.cells, _costs(most))
        costs = (_costs(estimate), *looks)
        for line in (*_reasons(statuses), *planned.problems, *costs, *filter(None, [few]), *decides):
            console().print(line, markup=False, highlight=False, soft_wrap=True)
    if export is not None:
        search = search_result(study, paths)  # raises if the search is not finished
        around = [with_choices(context, search) for context in study.contexts.values()]
        everywhere = [
            item for context in around for item in cells_of_study(context, context.arms, paths).statuses
        ]
        _export([*statuses, *everywhere], export, paths.runs, say_on_stderr=as_json)
        if planned.cells.stages is not None and planned.cells.stages.next(planned.cells.question.family):
            typer.echo(
                "these are the cells of the next look; export again once they are imported", err=as_json
            )


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


def _reasons(statuses: Sequence[CellStatus]) -> list[str]:
    """Return one line for each reason why cells have no result that counts."""
    reasons = Counter((item.state, item.reason) for item in statuses if item.reason)
    return [f"{count} {state}: {reason}" for (state, reason), count in reasons.items()]


def _costs(estimate: StudyEstimate) -> str:
    """Return the sentence about the time, disk and memory that a run would take."""
    again = f"; with --retry-stale, a run trains {estimate.stale} stale cells again" if estimate.stale else ""
    if not estimate.cells:
        return f"nothing is left to train{again}"
    cells = f"{estimate.cells} cells to train{again}"
    if estimate.seconds is None:
        return f"{cells}; the time is not known, because no cell of this study is finished here"
    basis = f"measured on {estimate.measured} finished cells of this study"
    if estimate.from_others:
        basis += f", of other arms for {estimate.from_others} of the cells"
    needs = f"{cells}: about {_duration(estimate.seconds)} of one worker"
    if estimate.disk_bytes is not None:
        needs += f", {bytes_text(estimate.disk_bytes)} of disk"
    if estimate.worker_bytes is not None:
        needs += f", {bytes_text(estimate.worker_bytes)} of memory per worker"
    if estimate.gpu_bytes is not None:
        needs += f", {bytes_text(estimate.gpu_bytes)} on the GPU"
    return f"{needs} ({basis}; without making data and cached maps)"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


def _print_arms(study: Study, arms: Sequence[Arm], statuses: Sequence[CellStatus]) -> None:
    out = console()
    out.print(f"{study.name}: {study.title}", markup=False, highlight=False)
    table = Table("arm", "role", "component", "settings", "seeds", "states", box=None)
    if study.budget is not None:
        out.print(study.budget.sentence(), markup=False, highlight=False)
        table.add_column("from the budget")
    for arm in arms:
        own = [item for item in statuses if item.cell.arm == arm.label]
        states = Counter(item.state for item in own)
        seeds = ", ".join(str(item.cell.seed) for item in own)
        shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        distance = [_distance(arm.budget_match)] if arm.budget_match is not None else []
        row = (arm.label, arm.role, arm.component, settings_text(study, arm), seeds, shown, *distance)
        table.add_row(*map(Text, row))
    out.print(table)
    if study.search is not None:
        out.print(_searches(study, study.search), markup=False, highlight=False, soft_wrap=True)
    out.print(f"{len(statuses)} cells in all" + (" so far" if study.looks else ""))
    for label, context in study.contexts.items():
        budget = f"; {context.budget.sentence()}" if context.budget is not None else ""
        count = sum(context.seed_counts.values())
        at_most = "at most " if context.looks else ""
        line = f"{at_most}{count} cells of the same arms under {label} (study {context.name}){budget}"
        out.print(line, markup=False, highlight=False)


def _searches(study: Study, search: Search) -> str:
    """Return the sentence on the cells of the search."""
    searches = [found for found in make_searches(study, maximise=True) if found.planned]
    cells = sum(len(found.planned) for found in searches)
    sentence = f"before these, {cells} search cells ({search.trials} trials per arm)"
    if search.pruner is None or not searches:
        return sentence
    epochs = [sum(found.planned) // len(search.seeds) for found in searches]
    full = [found.trials * found.arm.config.train.epochs for found in searches]
    named = [f"{few} epochs instead of {many}" for few, many in zip(epochs, full, strict=True)]
    shown = (
        f"{named[0]} in each arm"
        if len({*named}) == 1
        else "; ".join(f"{text} in {found.arm.label}" for text, found in zip(named, searches, strict=True))
    )
    return (
        f"{sentence}; they are pruned, so the budget is one of training steps: {shown}, for each search seed"
    )


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
