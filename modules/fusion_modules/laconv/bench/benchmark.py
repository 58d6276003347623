"""``fusion-bench bench dynamic-conv``: the position-wise convolution against unfold, multiply, sum.

Every figure is a ratio within one run, on the machine that the table names.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fusion_bench.errors import FusionBenchError
from fusion_modules.laconv.bench.comparison import SHAPES, BenchmarkResult, measure


def bench_dynamic_conv(
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch on a CPU.")] = 2,
    repeats: Annotated[int, typer.Option(min=1, help="Readings of each implementation, in turn.")] = 15,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; a GPU if there is one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Time the position-wise convolution, forward and backward, against unfold, multiply, sum."""
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if name != "cpu" and not (name.startswith("cuda") and torch.cuda.is_available()):
        raise FusionBenchError(
            f"--device {name}: the benchmark runs on cpu, and on cuda where there is a GPU"
        )
    result = measure(SHAPES, torch.device(name), threads, repeats)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
    else:
        print_benchmark(result, Console())


def print_benchmark(result: BenchmarkResult, console: Console) -> None:
    """Print one table."""
    on_gpu = result.copy_bandwidth is not None
    table = Table(
        title=f"Position-wise convolution, forward and backward: {result.machine}",
        caption=_caption(result),
    )
    for heading in ("x, kernels", "implementation", "ms", "times faster", "extra memory"):
        table.add_column(heading, justify="left" if heading in {"x, kernels", "implementation"} else "right")
    if on_gpu:
        table.add_column("GB/s", justify="right")
    shape = None
    for row in result.rows:
        faster = row.times_faster
        cells = [
            "" if row.shape == shape else escape(row.shape),
            row.implementation,
            f"{row.milliseconds.median:.2f}",
            f"{faster.median:.2f} ({faster.lower:.2f} to {faster.upper:.2f})",
            "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f} MiB",
        ]
        if on_gpu:
            cells.append("" if row.bandwidth is None else f"{row.bandwidth:.0f}")
        if shape not in {None, row.shape}:
            table.add_section()
        table.add_row(*cells)
        shape = row.shape
    console.print(table)


def _caption(result: BenchmarkResult) -> str:
    waiting = os.environ.get("OMP_WAIT_POLICY", "unset")
    said = (
        f"{result.threads} threads (OMP_WAIT_POLICY {waiting}), {result.versions}. Medians of {result.repeats} "
        "repeats in turn; ratios within a repeat to the first row of a shape, quartiles in brackets. "
        "Extra memory: the peak beyond the inputs, gradients included."
    )
    if result.copy_bandwidth is not None:
        said += f" GB/s of the bytes that must move; a copy moves {result.copy_bandwidth:.0f} GB/s."
    return said
