"""The implementation of ``fusion-bench cells clean`` and ``fusion-bench merge``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from fusion_bench.cli.cells.states import bytes_text, cells_of_study, planned_cells
from fusion_bench.cli.open_study import open_as_last_run
from fusion_bench.errors import FusionBenchError
from fusion_bench.study.folders.clean import CellFilter, Cleaning, NamedCells, choose_cells, remove_cells
from fusion_bench.study.folders.merge import merge_cells
from fusion_bench.training.paths import RunPaths

_LISTED = 20


def clean_and_say(
    source: Path | None,
    runs: Path,
    overrides: Sequence[str],
    data: Sequence[str],
    wanted: CellFilter,
    *,
    remove: bool,
) -> None:
    """Print how many cells a filter chooses and how many bytes they have; remove them if asked.

    Raises:
        FusionBenchError: nothing is asked for, or the study or a plan cannot be read.
    """
    if source is None and wanted == CellFilter(shared=wanted.shared):
        raise FusionBenchError(
            "name a study, --stale, --failed, --unplanned or --older-than DAYS: without one, every cell would be "
            "chosen"
        )
    study, paths = None, RunPaths(runs.expanduser(), {}, {})
    if source is not None:
        study, paths = _study_cells(source, runs, overrides, data)
    found = choose_cells(wanted, study, paths)
    if not remove:
        advice = "; add --yes to remove them" if found.chosen else ""
        typer.echo(f"would remove {_summary(found)}{advice}")
        return
    removed = remove_cells(found.chosen, paths.runs)
    kept = Counter(found.kept) + Counter(removed.kept)
    typer.echo(f"removed {_summary(Cleaning(removed.chosen, kept))}")


def _study_cells(
    source: Path, runs: Path, overrides: Sequence[str], data: Sequence[str]
) -> tuple[NamedCells, RunPaths]:
    opened = open_as_last_run(source, runs, overrides, data, device="cpu", data_workers=1)
    contexts = opened.study.contexts.values()
    statuses = [
        *planned_cells(opened).cells.possible,
        *(
            item
            for context in contexts
            for item in cells_of_study(context, context.arms, opened.paths).possible
        ),
    ]
    names = frozenset({opened.study.name, *(context.name for context in contexts)})
    return NamedCells(names, {item.cell.id: item for item in statuses}), opened.paths


def _summary(found: Cleaning) -> str:
    """Return ``12 cells, 3.4 MB: 10 stale, 2 failed; kept: 1 held by a process``."""
    states = Counter[str](cell.state for cell in found.chosen)
    size = sum(cell.size for cell in found.chosen)
    text = f"{len(found.chosen):,} cells"
    if states:
        text += f", {bytes_text(size)}: {_counted(states)}"
    if found.kept:
        text += f"; kept: {_counted(found.kept)}"
    if any("another study" in reason for reason in found.kept):
        text += " (--shared takes those too)"
    return text


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())


def merge_and_say(source: Path, runs: Path) -> None:
    """Copy finished cells, and print what was copied and what was not, with the reason.

    Raises:
        FusionBenchError: see `fusion_bench.study.folders.merge.merge_cells`.
        typer.Exit: with code 1, if a cell was not copied that has a result in ``source``.
    """
    found = merge_cells(source.expanduser(), runs.expanduser())
    _list(f"another result is in {runs}, which is kept", found.conflicts)
    _list("not copied", found.refused)
    typer.echo(
        f"{len(found.copied):,} cells copied, {len(found.equal):,} already there, {len(found.conflicts):,} with "
        f"another result there, {len(found.refused):,} not copied, {found.unfinished:,} not finished"
    )
    if found.mixed:
        typer.echo(found.mixed)
    if found.conflicts or found.refused:
        raise typer.Exit(1)


def _list(title: str, reasons: Mapping[str, str]) -> None:
    for cell, reason in list(reasons.items())[:_LISTED]:
        typer.echo(f"cell {cell}: {title}: {reason}", err=True)
    if len(reasons) > _LISTED:
        typer.echo(f"and {len(reasons) - _LISTED:,} more cells: {title}", err=True)
