"""The command line ``fusion-bench``: each command parses its options and calls the implementation.

Heavy libraries are imported only by the command that needs them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from fusion_bench.cli.bench.commands import bench_app
from fusion_bench.cli.cells.commands import cells_app, merge
from fusion_bench.cli.completion import (
    LISTED,
    complete_component,
    complete_listed,
    complete_modules,
)
from fusion_bench.cli.data.commands import data_app
from fusion_bench.cli.new import new_app
from fusion_bench.cli.options import DataRoots, Overrides, Runs, Storage, StudyArgument, check_study
from fusion_bench.cli.plugin_commands import PluginGroup
from fusion_bench.cli.run_commands import run, work
from fusion_bench.errors import FusionBenchError

PROGRAM = "fusion-bench"
# Versions of typer keep click's class in different places.
_UsageError: Any = typer.BadParameter.__mro__[1]
app = typer.Typer(
    name=PROGRAM,
    cls=PluginGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: an import of rich takes as long as everything else in `--help`
)
app.add_typer(cells_app, name="cells")
app.add_typer(data_app, name="data")
app.add_typer(new_app, name="new")
app.add_typer(bench_app, name="bench")
app.add_typer(
    typer.Typer(cls=PluginGroup, help="Convert checkpoints from and to other projects."), name="convert"
)


def _print_version(asked: bool) -> None:
    if not asked:
        return
    try:
        typer.echo(f"fusion-bench {version('laconv-fusion-bench')}")
    except PackageNotFoundError:
        typer.echo("fusion-bench, not installed: its version is not known")
    raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Compare vision-language fusion modules, fairly. Start with: fusion-bench run studies/quickstart.yaml."""


app.command()(run)
app.command()(work)


@app.command()
def plan(
    study: StudyArgument,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the cells that are not done, to train them on another machine.",
        ),
    ] = None,
) -> None:
    """Show the arms of a study, its cells and their states; nothing is trained."""
    check_study(study, overrides)
    from fusion_bench.cli.plan import show_plan  # noqa: PLC0415 - imports torch

    show_plan(study, runs, tuple(overrides or ()), tuple(data or ()), as_json=as_json, export=export)


@app.command()
def report(
    source: Annotated[
        Path,
        typer.Argument(help="A study file, runs/studies/NAME, or a published folder such as reports/nlvr."),
    ],
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
    publish: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the report into FOLDER/<name> (for example reports)."),
    ] = None,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Update MLflow too.")] = False,
    storage: Storage = None,
) -> None:
    """Write the report of the finished cells, or rebuild a published report from its own files."""
    check_study(source, overrides)
    from fusion_bench.cli.run import ShownIn, report_only  # noqa: PLC0415 - imports torch

    shown = ShownIn(mlflow, storage)
    report_only(source, runs, tuple(overrides or ()), tuple(data or ()), publish=publish, shown_in=shown)


app.command()(merge)


@app.command()
def across(
    reports: Annotated[
        list[Path],
        typer.Argument(
            metavar="REPORT [REPORT ...]",
            help="Published reports or runs/studies/NAME, one per data set; one alone is ranked over its contexts.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write page, table and diagram into this folder.")
    ] = None,
) -> None:
    """Rank arms over several data sets: mean ranks, Friedman's test, Nemenyi's, and Holm's against the reference."""
    from fusion_bench.cli.reports.across import rank_and_say  # noqa: PLC0415 - imports pandas

    rank_and_say(reports, out)


@app.command()
def calibrate(
    study: Annotated[
        Path | None,
        typer.Argument(
            metavar="[STUDY]",
            help="A study file, runs/studies/NAME or a published folder; by default the standard cases.",
        ),
    ] = None,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
    studies: Annotated[int, typer.Option(min=100, help="Simulated studies of each case.")] = 20000,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one per core.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The folder to write; by default runs/calibration/NAME."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show how often the statistics err: in simulated studies, and on a study's own cells against themselves."""
    if study is not None:
        check_study(study, overrides)
    try:
        from fusion_bench.cli.calibrate import (  # noqa: PLC0415 - imports torch
            CalibrateOptions,
            calibrate_and_say,
        )

        options = CalibrateOptions(
            study, runs, tuple(overrides or ()), tuple(data or ()), studies, workers, out
        )
        calibrate_and_say(options, as_json=as_json)
    except KeyboardInterrupt:
        typer.echo("stopped; finished cases are kept, run the command again to continue", err=True)
        raise typer.Exit(130) from None


@app.command()
def check(
    module: Annotated[
        str,
        typer.Argument(
            help="A registered name, package.module:Class or path/to/file.py.",
            autocompletion=complete_modules,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check that a fusion module follows the contract: one line per check, exit code 1 if a check fails."""
    from fusion_bench.cli.check import check_module  # noqa: PLC0415 - imports torch

    check_module(module, as_json=as_json)


@app.command(name="explain")
def explain_command(
    study: StudyArgument,
    arm: Annotated[
        str, typer.Option(metavar="LABEL", help="The label of the arm; its module must explain itself.")
    ],
    sample: Annotated[str | None, typer.Option(metavar="ID", help="A sample of the data set.")] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your own image instead of a sample; needs --sentence."),
    ] = None,
    sentence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The sentence about your own image; needs --image.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="A seed of the study; by default its first.")] = None,
    copy: Annotated[
        int | None,
        typer.Option(help="The number of the fusion module in the arm, from 1; by default the last."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="The image to write.")] = None,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
) -> None:
    """Draw the attention of a trained arm to the words of a sentence, and the kernels that it builds."""
    check_study(study, overrides)
    from fusion_bench.cli.explain import ExplainOptions, explain_and_draw  # noqa: PLC0415 - imports torch

    explain_and_draw(
        ExplainOptions(
            study=study,
            arm=arm,
            sample=sample,
            image=image,
            sentence=sentence,
            seed=seed,
            copy=copy,
            out=out,
            runs=runs,
            overrides=tuple(overrides or ()),
            data=tuple(data or ()),
        )
    )


@app.command(name="list")
def list_(
    what: Annotated[
        str,
        typer.Argument(help=f"{', '.join(LISTED[:-1])} or {LISTED[-1]}.", autocompletion=complete_listed),
    ] = "modules",
    name: Annotated[
        str | None,
        typer.Argument(
            help="One module, network, data set or encoder, with its settings.",
            autocompletion=complete_component,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List what a study can use, or show one component with its settings."""
    from fusion_bench.cli.listing.components import list_kind  # noqa: PLC0415 - imports torch

    list_kind(what, name, as_json=as_json)


@app.command()
def ui(
    runs: Runs = Path("runs"),
    host: Annotated[str, typer.Option(help="Address of the server; it has no password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Start the UI of MLflow on this machine and print links to the pages of each study."""
    from fusion_bench.cli.ui import serve  # noqa: PLC0415 - imports mlflow

    serve(runs, host, port)


@app.command()
def schema() -> None:
    """Print the JSON schema of study files, with every installed component and its settings, for editors."""
    from fusion_bench.spec.catalogue import installed_catalogue  # noqa: PLC0415 - imports pydantic
    from fusion_bench.spec.editor.schema import schema_text  # noqa: PLC0415 - imports torch

    typer.echo(schema_text(installed_catalogue()), nl=False)


def set_environment() -> None:
    """Set the environment variables that libraries read when they are imported."""
    # OpenMP threads that wait actively slow down training many times when another process runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    An error that the user can correct, such as a wrong study file or a full disk, is one message and exit code 2.
    """
    set_environment()
    try:
        sys.exit(app(arguments, prog_name=PROGRAM, standalone_mode=False))
    except _UsageError as error:
        called = getattr(error.ctx, "command_path", PROGRAM)
        typer.echo(f"{called}: {error.format_message().rstrip('.')}; see {called} --help", err=True)
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
    except FusionBenchError as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"{where}{error.strerror or error}; finished cells are kept", err=True)
        sys.exit(2)
