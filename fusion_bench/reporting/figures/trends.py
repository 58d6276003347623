"""Figures of the primary metric against a cost: training samples, multiply-adds, milliseconds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from rich.cells import cell_len

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.style import WIDTH, ArmStyle, in_percent, in_thousands
from fusion_bench.reporting.tables.tables import records, selection_quantity

_HEIGHT = 3.8
_FEW = 12
_LEGEND_LETTERS = 22


def curves_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without curves."""
    return None if data.results.curves.empty else (WIDTH, _HEIGHT)


def draw_curves(data: FigureData, figure: Figure) -> None:
    """Draw the selection metric and the training loss against the number of training samples seen."""
    results = data.results
    recorded = set(results.curves["quantity"])
    chosen = selection_quantity(results)
    quantities = [name for name in (chosen, "train/loss") if name in recorded]
    panels = figure.subplots(1, len(quantities), squeeze=False)[0]
    handles: dict[str, Line2D] = {}
    for axes, quantity in zip(panels, quantities, strict=True):
        curves = results.curves[results.curves["quantity"] == quantity]
        for label in [arm.label for arm in results.arms if (curves["arm"] == arm.label).any()]:
            line = _draw_curve(axes, curves[curves["arm"] == label], data.arm_styles[label])
            handles.setdefault(label, line)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        in_thousands(axes.xaxis)
        axes.set_xlabel("training samples seen")
        if quantity == chosen:
            in_percent(axes.yaxis)
            metric = quantity.removeprefix("select/")
            # Beside a legend of long labels, the title has no room for both on one line.
            narrow = max(map(cell_len, data.labels.values())) > _LEGEND_LETTERS
            separator = "\n" if narrow else " "
            title = f"{data.metric(results.select_split, metric)}, %"
            axes.set_title(f"{title}{separator}(chooses the weights)")
        else:
            axes.set_title("training loss")
    _legend(data, figure, handles)


def _draw_curve(axes: Axes, curve: pd.DataFrame, style: ArmStyle) -> Line2D:
    """Draw the mean over seeds, with a band from the lowest to the highest seed; return the line of the mean."""
    across_seeds = curve.groupby("samples_seen")["value"].agg(["mean", "min", "max"])
    line = (0, style.dashes) if style.dashes else "-"
    marker = "o" if len(across_seeds) <= _FEW else ""
    axes.fill_between(
        across_seeds.index, across_seeds["min"], across_seeds["max"], color=style.color, alpha=0.15, lw=0
    )
    (mean,) = axes.plot(
        across_seeds.index, across_seeds["mean"], color=style.color, ls=line, lw=1.8, marker=marker, ms=3.5
    )
    return mean


def costs_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without a cost or a mean."""
    means = data.means(data.results.primary_split)
    return (WIDTH, _HEIGHT) if _costs(data) and len(means) else None


def draw_costs(data: FigureData, figure: Figure) -> None:
    """Draw the primary metric against the cost of a forward pass, on logarithmic scales."""
    costs = _costs(data)
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    handles: dict[str, Line2D] = {}
    for axes, (name, cost) in zip(panels, costs.items(), strict=True):
        for row in records(data.means(data.results.primary_split)):
            if row["arm"] not in cost:
                continue
            style, amount = data.arm_styles[row["arm"]], cost[row["arm"]]
            if not np.isnan(row["low"]):
                axes.plot([amount, amount], [row["low"], row["high"]], color=style.color, lw=1.6, alpha=0.6)
            (mark,) = axes.plot(amount, row["estimate"], style.marker, color=style.color, ms=8, mec="white")
            handles.setdefault(row["arm"], mark)
        axes.set_xscale("log")
        _log_ticks(axes, max(cost.values()) / min(cost.values()))
        axes.set_xlabel(name)
    in_percent(panels[0].yaxis)
    panels[0].set_title(f"{data.primary}, %")
    _legend(data, figure, handles)


def _costs(data: FigureData) -> dict[str, dict[str, float]]:
    """Return name of the cost -> arm -> amount; zero is left out, because the scale is logarithmic."""
    arms, batch = data.results.arms, data.results.latency_batch
    latency_name = "ms a batch" if batch is None else f"ms a batch of {batch}"
    costs = {
        "multiply-adds a sample, modules and adapters": {
            arm.label: float(arm.fusion_multiply_adds) for arm in arms if arm.fusion_multiply_adds
        },
        latency_name: {arm.label: arm.latency_ms for arm in arms if arm.latency_ms},
    }
    return {name: cost for name, cost in costs.items() if cost}


def _log_ticks(axes: Axes, ratio: float) -> None:
    """Put ticks at decades; up to a cost ``ratio`` of 300, also at 2 and 5 times each decade."""
    subs = (1.0,) if ratio > 300 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(10, subs=subs, numticks=9))
    axes.xaxis.set_minor_formatter(NullFormatter())
    in_thousands(axes.xaxis)


def _legend(data: FigureData, figure: Figure, handles: Mapping[str, Line2D]) -> None:
    """Draw the legend of the arms, in the order of the study.

    The labels are handed over: matplotlib leaves lines out of the legend whose own label begins with "_".
    """
    shown = [label for label in data.labels if label in handles]
    figure.legend(
        [handles[label] for label in shown],
        [data.labels[label] for label in shown],
        loc="outside right center",
        handlelength=2.6,
    )
