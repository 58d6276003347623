"""The commands ``fusion-bench cells``: list, show, export and import the cells of a runs folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_bench.cli.options import DataRoots, Overrides, Runs, StudyArgument, check_study
from fusion_bench.cli.plugin_commands import PluginGroup

cells_app = typer.Typer(cls=PluginGroup, help="The cells of a runs folder: one arm, one data set, one seed.")


@cells_app.command(name="ls")
def cells_ls(
    study: StudyArgument,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the cells of a study with their states."""
    check_study(study, overrides)
    from fusion_bench.cli.cells.states import list_cells  # noqa: PLC0415 - imports torch

    list_cells(study, runs, tuple(overrides or ()), tuple(data or ()), as_json=as_json)


@cells_app.command(name="show")
def cells_show(
    cell: Annotated[
        str, typer.Argument(help="The id of a cell, or its folder, such as bundle/cells/ID.", metavar="CELL")
    ],
    runs: Runs = Path("runs"),
) -> None:
    """Print the settings of a cell and the text of the modules that it carries, before anything of it runs."""
    from fusion_bench.cli.cells.show import show_cell  # noqa: PLC0415 - imports torch

    show_cell(cell, runs)


@cells_app.command(name="export")
def cells_export(
    source: Annotated[Path, typer.Argument(help="The study file, or a cell's folder runs/cells/<id>.")],
    submission: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The folder to write the submission files into.")
    ],
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
) -> None:
    """Write the predictions of finished cells in the format that the publishers of the data set accept."""
    check_study(source, overrides)
    from fusion_bench.cli.cells.states import export_submissions  # noqa: PLC0415 - imports torch

    export_submissions(source, submission, runs, tuple(overrides or ()), tuple(data or ()))


@cells_app.command(name="import")
def cells_import(
    exported: Annotated[
        Path,
        typer.Argument(
            help="A folder written by plan --export, or a published report such as reports/quickstart."
        ),
    ],
    runs: Runs = Path("runs"),
) -> None:
    """Copy finished cells from an exported folder or a published report into the runs folder."""
    from fusion_bench.reporting.published.published_cells import import_published  # noqa: PLC0415 - imports torch
    from fusion_bench.study.archive import import_cells  # noqa: PLC0415 - imports torch

    is_export = (exported / "cells").is_dir()
    found = import_cells(exported, runs) if is_export else import_published(exported, runs)
    typer.echo(
        f"{len(found.taken)} cells imported, {len(found.already_here)} already present, "
        f"{len(found.unfinished)} not finished"
    )


@cells_app.command(name="clean")
def cells_clean(
    study: Annotated[
        Path | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A study file or runs/studies/NAME: its cells only; by default all cells of the runs folder.",
        ),
    ] = None,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
    stale: Annotated[bool, typer.Option("--stale", help="Stale cells.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Failed cells.")] = False,
    unplanned: Annotated[
        bool, typer.Option("--unplanned", help="Cells that the last run of no study names.")
    ] = False,
    days: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Only cells that are older.")
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Also cells of STUDY that another study names.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them; without it they are only counted.")
    ] = False,
) -> None:
    """Count the cells that fit all that is asked, with their bytes; remove them with --yes."""
    if study is not None:
        check_study(study, overrides)
    from fusion_bench.cli.cells.upkeep import clean_and_say  # noqa: PLC0415 - imports torch
    from fusion_bench.study.folders.clean import CellFilter  # noqa: PLC0415 - imports torch

    wanted = CellFilter(stale, failed, unplanned, days, shared)
    clean_and_say(study, runs, tuple(overrides or ()), tuple(data or ()), wanted, remove=yes)


def merge(
    source: Annotated[Path, typer.Argument(metavar="RUNS_A", help="The runs folder to copy from.")],
    runs: Annotated[Path, typer.Argument(metavar="RUNS_B", help="The runs folder to copy into.")],
) -> None:
    """Copy the finished cells of one runs folder into another; results that are there already are kept.

    The exit code is 1 if a cell was not copied because it is damaged, being trained, or has another result there.
    """
    from fusion_bench.cli.cells.upkeep import merge_and_say  # noqa: PLC0415 - imports torch

    merge_and_say(source, runs)
