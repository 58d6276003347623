"""The implementation of ``fusion-bench bench growth``: how costs grow with sizes, with exponents."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import typer
from tabulate import tabulate

from fusion_bench.bench.growth.chart import draw_growth
from fusion_bench.bench.growth.curve import CostName, Curve
from fusion_bench.bench.growth.point import measured_curve
from fusion_bench.bench.growth.quantities import QUANTITIES
from fusion_bench.bench.timing import machine_name
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import did_you_mean
from fusion_bench.storage import replacing


def measure_growth(only: Sequence[str], out: Path | None) -> None:
    """Measure the curves, print their table, and write table, points and picture if a folder is given.

    Raises:
        FusionBenchError: a quantity is unknown, or a measurement failed.
    """
    for name in only:
        if name not in QUANTITIES:
            raise FusionBenchError(f"there is no quantity {name!r}{did_you_mean(name, QUANTITIES)}")
    curves = []
    for name in only or QUANTITIES:
        typer.echo(f"measuring {name}", err=True)
        curves.append(measured_curve(name))
    machine = (
        f"{machine_name(torch.device('cpu'))}, torch {torch.__version__}, Python {platform.python_version()}"
    )
    table = growth_table(curves)
    typer.echo(f"{machine}\n\n{table}")
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "growth.json") as part:
        part.write_text(json.dumps([asdict(curve) for curve in curves], indent=2) + "\n", encoding="utf-8")
    with replacing(out / "growth.md") as part:
        text = f"# Growth\n\nMeasured on: {machine}.\n\n{table}\n\n![Times against sizes](growth.png)\n"
        part.write_text(text, encoding="utf-8")
    draw_growth(curves, out / "growth.png")


def growth_table(curves: Sequence[Curve]) -> str:
    """Return a Markdown table: quantity, axis, sizes, the largest cost, exponents of time and memory."""
    rows = [
        (
            curve.quantity,
            curve.axis,
            f"{curve.points[0].size:,} to {curve.points[-1].size:,}",
            f"{curve.points[-1].seconds:.3g} s",
            _exponents(curve, "seconds"),
            f"{curve.points[-1].mebibytes:,.0f} MiB",
            _exponents(curve, "mebibytes"),
        )
        for curve in curves
    ]
    headings = (
        "quantity",
        "against",
        "from, to",
        "time at the end",
        "exponent",
        "memory at the end",
        "exponent",
    )
    return tabulate(rows, headings, tablefmt="github", disable_numparse=True)


def _exponents(curve: Curve, cost: CostName) -> str:
    """Return the exponent over all sizes and, in brackets, over the last two."""
    whole, last = curve.exponent(cost), curve.last_exponent(cost)
    return "" if math.isnan(whole) else f"{whole:.2f} ({last:.2f})"
