"""``fusion-bench bench dynamic-conv``: times of the position-wise convolution and of unfold, multiply, sum.

Speed is reported as a ratio within one run, on the machine that the table names.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fusion_bench.bench.timing import benchmark_device
from fusion_modules.laconv.bench.comparison import GPU_SHAPES, SHAPES, BenchmarkResult, measure


def bench_dynamic_conv(
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch on a CPU.")] = 2,
    repeats: Annotated[
        int, typer.Option(min=1, help="Measurements of each implementation, taken in turn.")
    ] = 15,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; a GPU if there is one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Time the position-wise convolution, forward and backward, relative to unfold, multiply, sum."""
    chosen = benchmark_device(device)
    result = measure(SHAPES if chosen.type == "cpu" else GPU_SHAPES, chosen, threads, repeats)
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
    else:
        print_benchmark(result, Console())


def print_benchmark(result: BenchmarkResult, console: Console) -> None:
    """Print the result as one table."""
    on_gpu = result.copy_bandwidth is not None
    table = Table(
        title=f"Position-wise convolution, forward and backward: {result.machine}",
        caption=_caption(result),
    )
    for heading in ("x, kernels", "implementation", "ms", "times faster", "extra memory"):
        table.add_column(heading, justify="left" if heading in {"x, kernels", "implementation"} else "right")
    if on_gpu:
        for heading in ("forward ms", "backward ms", "GB/s"):
            table.add_column(heading, justify="right")
    shape = None
    for row in result.rows:
        faster = row.times_faster
        values = [
            "" if row.shape == shape else escape(row.shape),
            row.implementation,
            f"{row.milliseconds.median:.2f}",
            f"{faster.median:.2f} ({faster.lower:.2f} to {faster.upper:.2f})",
            "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f} MiB",
        ]
        if on_gpu:
            values += ["" if part is None else f"{part.median:.3f}" for part in (row.forward, row.backward)]
            values.append("" if row.bandwidth is None else f"{row.bandwidth:.0f}")
        if shape not in {None, row.shape}:
            table.add_section()
        table.add_row(*values)
        shape = row.shape
    console.print(table)


def _caption(result: BenchmarkResult) -> str:
    """Return the conditions of the measurement and the meaning of the columns."""
    wait_policy = os.environ.get("OMP_WAIT_POLICY", "unset")
    caption = (
        f"{result.threads} threads (OMP_WAIT_POLICY {wait_policy}), {result.versions}. Medians of {result.repeats} "
        "repeats taken in turn. A ratio compares with the first row of a shape in the same repeat; quartiles in "
        "brackets. Extra memory: the peak beyond the inputs, including gradients."
    )
    if result.copy_bandwidth is not None:
        caption += (
            f" GB/s counts the bytes that must be moved; a copy reaches {result.copy_bandwidth:.0f} GB/s."
            f" {result.left_out}"
        )
    return caption
