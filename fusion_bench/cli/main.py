"""``fusion-bench``: parses, calls, prints. Heavy libraries are imported by the command that needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fusion_bench.cli.data import data_app
from fusion_bench.cli.plugin_commands import OpenGroup
from fusion_bench.errors import FusionBenchError

app = typer.Typer(
    name="fusion-bench",
    cls=OpenGroup,
    help="Compare vision-language fusion modules, fairly. Start with: fusion-bench run studies/quickstart.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cells_app = typer.Typer(
    help="The cells of a runs folder: one arm, one data set, one seed.", no_args_is_help=True
)
app.add_typer(cells_app, name="cells")
app.add_typer(data_app, name="data")
bench_app = typer.Typer(
    cls=OpenGroup, help="How fast: benchmarks of operators and modules on this machine.", no_args_is_help=True
)
app.add_typer(bench_app, name="bench")
app.add_typer(
    typer.Typer(cls=OpenGroup, help="Checkpoints of other projects, to and fro.", no_args_is_help=True),
    name="convert",
)

StudyArgument = Annotated[Path, typer.Argument(help="The study file.", metavar="STUDY.yaml")]
Runs = Annotated[Path, typer.Option("--runs", help="Where cells, caches and reports are kept.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key: --set train.epochs=3")
]
DataRoots = Annotated[
    list[str] | None, typer.Option("--data", metavar="NAME=FOLDER", help="Where a data set's files are.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; a GPU is used when there is one.")]


@app.command()
def run(
    study: StudyArgument,
    runs: Runs = Path("runs"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cells at once; cores / threads on a CPU.")
    ] = None,
    overrides: Overrides = None,
    data: DataRoots = None,
    device: Device = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed cells again.")] = False,
    retry_stale: Annotated[
        bool, typer.Option("--retry-stale", help="Train stale cells anew; old outcomes are put aside.")
    ] = False,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Write model.safetensors beside each outcome.")
    ] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Toy sizes, in seconds, one planted failure: does all of it work?")
    ] = False,
) -> None:
    """Train what a study still lacks, then write its report."""
    try:
        from fusion_bench.cli.run import RunRequest, run_and_report  # noqa: PLC0415 - imports torch

        run_and_report(
            RunRequest(
                study=study,
                runs=runs,
                workers=workers,
                overrides=tuple(overrides or ()),
                data=tuple(data or ()),
                device=device,
                retry_failed=retry_failed,
                retry_stale=retry_stale,
                keep_weights=keep_weights,
                smoke=smoke,
            )
        )
    except KeyboardInterrupt:  # caught here: typer would end without a word
        typer.echo("stopped; finished cells are kept, run again to go on", err=True)
        raise typer.Exit(130) from None


@app.command()
def plan(
    study: StudyArgument,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the cells that are not done, to train elsewhere."),
    ] = None,
) -> None:
    """Show the cells of a study and where each stands; nothing is trained."""
    from fusion_bench.cli.plan import show_plan  # noqa: PLC0415 - imports torch

    show_plan(study, runs, tuple(overrides or ()), tuple(data or ()), as_json=as_json, export=export)


@app.command()
def report(
    source: Annotated[Path, typer.Argument(help="A study file, or a published folder such as reports/nlvr.")],
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
    publish: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write it under FOLDER/<name> (say, reports).")
    ] = None,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Bring MLflow in line with it as well.")] = False,
) -> None:
    """Write the report of what is done, or rebuild a published one from its own tables."""
    from fusion_bench.cli.run import report_only  # noqa: PLC0415 - imports torch

    report_only(source, runs, tuple(overrides or ()), tuple(data or ()), publish=publish, to_mlflow=mlflow)


@app.command()
def check(
    module: Annotated[
        str, typer.Argument(help="A registered name, package.module:Class or path/to/file.py.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Put a fusion module through the contract kit: one line per check, exit code 1 if one fails."""
    from fusion_bench.cli.check import check_module  # noqa: PLC0415 - imports torch

    check_module(module, as_json=as_json)


@app.command()
def explain_command(
    study: StudyArgument,
    arm: Annotated[str, typer.Option(metavar="LABEL", help="The arm to ask; it must explain itself.")],
    sample: Annotated[str | None, typer.Option(metavar="ID", help="A sample of the data set.")] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="Or a picture of your own, with")] = None,
    sentence: Annotated[str | None, typer.Option(metavar="TEXT", help="a sentence about it.")] = None,
    seed: Annotated[int | None, typer.Option(help="One of the study's; its first if left out.")] = None,
    copy: Annotated[
        int | None, typer.Option(help="Which of the arm's fusion modules, from 1; the last if left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="The picture to write.")] = None,
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
) -> None:
    """Draw what a trained arm listens to in a sentence, and the kernels it builds of it."""
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
    what: Annotated[str, typer.Argument(help="modules, networks, datasets or text-encoders")] = "modules",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List what a study can name."""
    from fusion_bench.cli.list import list_kind  # noqa: PLC0415 - imports torch

    list_kind(what, as_json=as_json)


@app.command()
def ui(
    runs: Runs = Path("runs"),
    host: Annotated[str, typer.Option(help="Address to listen on; there is no password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Start MLflow's UI on this machine and print links to the right pages."""
    from fusion_bench.cli.ui import serve  # noqa: PLC0415 - imports mlflow

    serve(runs, host, port)


@app.command()
def schema() -> None:
    """Print the JSON schema of study files, for editors."""
    import json  # noqa: PLC0415 - beside the import it serves

    from fusion_bench.spec.document.schema import study_schema  # noqa: PLC0415 - imports pydantic

    typer.echo(json.dumps(study_schema(), indent=2))


@cells_app.command(name="ls")
def cells_ls(
    study: StudyArgument, runs: Runs = Path("runs"), overrides: Overrides = None, data: DataRoots = None
) -> None:
    """List a study's cells and where each stands."""
    from fusion_bench.cli.plan import list_cells  # noqa: PLC0415 - imports torch

    list_cells(study, runs, tuple(overrides or ()), tuple(data or ()))


@cells_app.command(name="export")
def cells_export(
    source: Annotated[Path, typer.Argument(help="The study file, or a cell's folder runs/cells/<id>.")],
    submission: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Write what finished cells answered, ready to hand in.")
    ],
    runs: Runs = Path("runs"),
    overrides: Overrides = None,
    data: DataRoots = None,
) -> None:
    """Write finished cells' answers in the form that a data set's publishers take."""
    from fusion_bench.cli.plan import export_submissions  # noqa: PLC0415 - imports torch

    export_submissions(source, submission, runs, tuple(overrides or ()), tuple(data or ()))


@cells_app.command(name="import")
def cells_import(
    exported: Annotated[Path, typer.Argument(help="A folder written by plan --export.")],
    runs: Runs = Path("runs"),
) -> None:
    """Take finished cells from an exported folder."""
    from fusion_bench.study.archive import import_cells  # noqa: PLC0415 - imports torch

    found = import_cells(exported, runs)
    typer.echo(
        f"{len(found.taken)} cells taken, {len(found.already_here)} already here, "
        f"{len(found.unfinished)} not finished"
    )


@bench_app.command(name="input")
def bench_input_(
    name: Annotated[str, typer.Argument(help="A data set.", metavar="NAME")],
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="Where its files are.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the data set.")
    ] = None,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of resized images.")] = (224, 224),
    images: Annotated[int, typer.Option(min=1, help="Images to decode.")] = 256,
    samples: Annotated[int, typer.Option(min=64, help="Samples to gather.")] = 2048,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Time the way from a data set's files to a batch: opening, decoding, words, gathering."""
    from fusion_bench.cli.bench import bench_input  # noqa: PLC0415 - imports torch

    bench_input(name, root, tuple(settings or ()), size, images=images, samples=samples, as_json=as_json)


def set_environment() -> None:
    """Settings that libraries read when they are imported."""
    # Spinning OpenMP threads slow training many times over whenever anything else runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what the user can put right, a full disk too, is one message and exit code 2."""
    set_environment()
    try:
        app(arguments)
    except FusionBenchError as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"{where}{error.strerror or error}; finished cells are kept", err=True)
        sys.exit(2)
