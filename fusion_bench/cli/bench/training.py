"""The implementation of ``fusion-bench bench step`` and ``bench peers``: the speed of training on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from fusion_bench.bench.peers import measure_peers
from fusion_bench.bench.step import ARMS, COMPILES, GPU_STEPS, STEP_HEADINGS, measure_steps, step_row
from fusion_bench.bench.timing import benchmark_device, machine_name


def print_steps(device: str | None, repeats: int, *, as_json: bool) -> None:
    """Time the steps of the benchmark's arms and print one row for each."""
    chosen = benchmark_device(device)
    if chosen.type == "cpu":
        times = measure_steps(ARMS, chosen, repeats=repeats)
    else:
        times = measure_steps(ARMS, chosen, steps=GPU_STEPS, repeats=repeats, compiles=COMPILES)
    rows = [step_row(time) for time in times]
    shown = [column for column in range(len(STEP_HEADINGS)) if any(row[column] for row in rows)]
    headings = [STEP_HEADINGS[column] for column in shown]  # a CPU has no columns about a GPU
    _print(chosen, headings, [[row[column] for column in shown] for row in rows], times, as_json=as_json)


def print_peers(device: str | None, repeats: int, *, as_json: bool) -> None:
    """Time the three loops and print one row for each."""
    chosen = benchmark_device(device)
    times = measure_peers(chosen, repeats=repeats)
    rows = [(time.loop, f"{time.milliseconds:.1f}", f"{time.relative:.3f}") for time in times]
    _print(chosen, ("loop", "ms a step", "relative to the minimal loop"), rows, times, as_json=as_json)


def _print(
    device: torch.device,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    values: Sequence[Any],
    *,
    as_json: bool,
) -> None:
    """Print the rows as a table, or the values as JSON."""
    if as_json:
        typer.echo(json.dumps([asdict(value) for value in values], indent=2))
        return
    clock = "CPU time of one thread" if device.type == "cpu" else "wall-clock time"
    table = Table(title=f"{machine_name(device)}, {clock}, medians", box=None)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
