"""The implementation of ``fusion-bench bench input``: the speed of reading a data set on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import typer
from rich.console import Console
from rich.table import Table

from fusion_bench.bench.input import measure_input
from fusion_bench.cli.open_study import data_config
from fusion_bench.training.paths import RunPaths


def print_input(
    name: str,
    root: Path | None,
    settings: Sequence[str],
    size: tuple[int, int],
    *,
    images: int,
    samples: int,
    as_json: bool,
) -> None:
    """Time each step from files to batches and print a table; indexes and decoded images go to a temporary cache.

    Raises:
        FusionBenchError: the data set does not exist, or its files are missing or damaged.
    """
    config = data_config(name, settings, size)
    roots = {} if root is None else {config.name: root.resolve()}
    with TemporaryDirectory() as runs:
        rates = measure_input(config, RunPaths(Path(runs), roots, {}), images=images, samples=samples)
    if as_json:
        typer.echo(json.dumps([{**asdict(rate), "per_second": rate.per_second} for rate in rates], indent=2))
        return
    table = Table("step", title=f"{config.name}, images to {size[0]}x{size[1]}, one thread", box=None)
    for heading in ("count", "seconds", "a second"):
        table.add_column(heading, justify="right")
    for rate in rates:
        row = (f"{rate.count:,} {rate.things}", f"{rate.seconds:.2f}", f"{rate.per_second:,.0f}")
        table.add_row(rate.step, *row)
    Console().print(table)
