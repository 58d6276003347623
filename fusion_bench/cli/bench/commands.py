"""The commands ``fusion-bench bench``: the speed of this machine and of the harness on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_bench.cli.completion import complete_datasets
from fusion_bench.cli.options import Device
from fusion_bench.cli.plugin_commands import PluginGroup

bench_app = typer.Typer(
    cls=PluginGroup, help="Benchmarks of operators, modules and data reading on this machine."
)

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Repeats = Annotated[int, typer.Option(min=1, help="Measurements of each row, taken in turn.")]


@bench_app.command(name="all")
def bench_all(
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A short form with targets twice as loose; a group that misses one is measured up to three times.",
        ),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Only this group of benchmarks; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the table into this folder too.")
    ] = None,
) -> None:
    """Measure everything that has a target; print target, measured value and whether it is reached.

    The exit code is 1 if a target is missed.
    """
    from fusion_bench.cli.bench.everything import run_all  # noqa: PLC0415 - imports torch

    if not run_all(tuple(only or ()), quick=quick, out=out):
        raise typer.Exit(1)


@bench_app.command(name="step")
def bench_step(device: Device = None, repeats: Repeats = 9, as_json: AsJson = False) -> None:
    """Time a training step of FiLM and of LaConv, beside the time that its multiply-adds alone would take."""
    from fusion_bench.cli.bench.training import print_steps  # noqa: PLC0415 - imports torch

    print_steps(device, repeats, as_json=as_json)


@bench_app.command(name="peers")
def bench_peers(device: Device = None, repeats: Repeats = 9, as_json: AsJson = False) -> None:
    """Time a training step in the harness, in a minimal loop, and in a loop in the style of public code."""
    from fusion_bench.cli.bench.training import print_peers  # noqa: PLC0415 - imports torch

    print_peers(device, repeats, as_json=as_json)


@bench_app.command(name="growth")
def bench_growth(
    only: Annotated[
        list[str] | None, typer.Option(metavar="QUANTITY", help="Only this quantity; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write table, points and picture into this folder too.")
    ] = None,
) -> None:
    """Measure how time and memory grow with samples, map, words, width, arms and cells; print the exponents."""
    from fusion_bench.cli.bench.growth import measure_growth  # noqa: PLC0415 - imports torch

    measure_growth(tuple(only or ()), out)


@bench_app.command(name="input")
def bench_input(
    name: Annotated[
        str, typer.Argument(help="A data set.", metavar="NAME", autocompletion=complete_datasets)
    ],
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder of its files.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the data set: --set seed=3"),
    ] = None,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of resized images.")] = (224, 224),
    images: Annotated[int, typer.Option(min=1, help="Number of images to decode.")] = 256,
    samples: Annotated[int, typer.Option(min=64, help="Number of samples to put into batches.")] = 2048,
    as_json: AsJson = False,
) -> None:
    """Time each step from the files of a data set to a batch: opening, decoding, encoding words, batching."""
    from fusion_bench.cli.bench.input import print_input  # noqa: PLC0415 - imports torch

    print_input(name, root, tuple(settings or ()), size, images=images, samples=samples, as_json=as_json)
