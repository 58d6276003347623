"""The implementation of ``fusion-bench bench all``: one table of targets and measured values."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import typer
from tabulate import tabulate

from fusion_bench.bench.apart import measured_apart
from fusion_bench.bench.groups import group_names, load_group
from fusion_bench.bench.targets import Line
from fusion_bench.bench.timing import machine_name
from fusion_bench.storage import replacing

QUICK_FACTOR = 2.0
"""How much looser the targets of the short form are: it only finds collapses."""
QUICK_TRIES = 3
"""How often the short form measures a group at most: other load on the machine makes a value worse, never better."""


def run_all(only: Sequence[str], *, quick: bool, out: Path | None) -> bool:
    """Measure every group, print the table, write it if asked, and return True if every target is reached.

    Raises:
        FusionBenchError: a group is unknown or failed.
    """
    for name in only:
        load_group(name)
    lines: list[Line] = []
    for name in only or group_names():
        typer.echo(f"measuring {name}", err=True)
        lines += _quickly_measured(name) if quick else measured_apart(name, quick=False)
    machine = (
        f"{machine_name(torch.device('cpu'))}, one thread, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )
    table = as_table(lines)
    typer.echo(f"{machine}\n\n{table}")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / "benchmarks.json") as part:
            part.write_text(json.dumps([asdict(line) for line in lines], indent=2) + "\n", encoding="utf-8")
        with replacing(out / "benchmarks.md") as part:
            part.write_text(f"# Benchmarks\n\nMeasured on: {machine}.\n\n{table}\n", encoding="utf-8")
    return all(line.reached for line in lines)


def _quickly_measured(name: str) -> list[Line]:
    """Return the lines of a group in the short form, each with the best of up to `QUICK_TRIES` measurements.

    A group is measured again only while one of its targets is missed.
    """
    lines = [line.loosened(QUICK_FACTOR) for line in measured_apart(name, quick=True)]
    for _ in range(QUICK_TRIES - 1):
        missed = [line.sentence for line in lines if not line.reached]
        if not missed:
            break
        typer.echo("\n".join([*missed, f"measuring {name} again"]), err=True)
        again = measured_apart(name, quick=True)
        lines = [
            line.better_of(other.loosened(QUICK_FACTOR)) for line, other in zip(lines, again, strict=True)
        ]
    return lines


def as_table(lines: Sequence[Line]) -> str:
    """Return a Markdown table of the lines: item, quantity, target, measured value, reached or missed."""
    rows = [
        (
            line.item,
            line.quantity,
            f"{'at most' if line.better == 'lower' else 'at least'} {line.target:.4g} {line.unit}",
            f"{line.measured:.3g} {line.unit}",
            "yes" if line.reached else "**no**",
        )
        for line in lines
    ]
    headings = ("item", "quantity", "target", "measured", "reached")
    return tabulate(rows, headings, tablefmt="github", disable_numparse=True)
