"""Figures of the primary metric against something spent: training samples, multiply-adds, milliseconds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from fusion_bench.reporting.figures.style import WIDTH, ArmStyle, FigureStyle, in_percent, in_thousands
from fusion_bench.reporting.tables.tables import records, selection_quantity

_HEIGHT = 3.8
_FEW = 12


def curves_size(subject: FigureStyle) -> tuple[float, float] | None:
    """Inches; None without curves."""
    return None if subject.results.curves.empty else (WIDTH, _HEIGHT)


def draw_curves(subject: FigureStyle, figure: Figure) -> None:
    """The selection metric and the training loss against training samples seen."""
    results = subject.results
    recorded = set(results.curves["quantity"])
    chosen = selection_quantity(results)
    quantities = [name for name in (chosen, "train/loss") if name in recorded]
    panels = figure.subplots(1, len(quantities), squeeze=False)[0]
    for axes, quantity in zip(panels, quantities, strict=True):
        curves = results.curves[results.curves["quantity"] == quantity]
        for label in [arm.label for arm in results.arms if (curves["arm"] == arm.label).any()]:
            _draw_curve(axes, curves[curves["arm"] == label], subject.looks[label], label)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        in_thousands(axes.xaxis)
        axes.set_xlabel("training samples seen")
        if quantity == chosen:
            in_percent(axes.yaxis)
            metric = quantity.removeprefix("select/")
            axes.set_title(f"{results.select_split} {metric}, % (chooses the weights)")
        else:
            axes.set_title("training loss")
    _legend(figure, panels[0])


def _draw_curve(axes: Axes, curve: pd.DataFrame, look: ArmStyle, label: str) -> None:
    """The mean over seeds, and a band from the lowest seed to the highest."""
    at = curve.groupby("samples_seen")["value"].agg(["mean", "min", "max"])
    line = (0, look.dashes) if look.dashes else "-"
    marker = "o" if len(at) <= _FEW else ""
    axes.fill_between(at.index, at["min"], at["max"], color=look.color, alpha=0.15, lw=0)
    axes.plot(at.index, at["mean"], color=look.color, ls=line, lw=1.8, label=label, marker=marker, ms=3.5)


def costs_size(subject: FigureStyle) -> tuple[float, float] | None:
    """Inches; None without a cost or a mean."""
    means = subject.means(subject.results.primary_split)
    return (WIDTH, _HEIGHT) if _costs(subject) and len(means) else None


def draw_costs(subject: FigureStyle, figure: Figure) -> None:
    """The primary metric against what a forward pass costs, on logarithmic scales."""
    costs = _costs(subject)
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for axes, (name, cost) in zip(panels, costs.items(), strict=True):
        for row in records(subject.means(subject.results.primary_split)):
            if row["arm"] not in cost:
                continue
            look, spent = subject.looks[row["arm"]], cost[row["arm"]]
            if not np.isnan(row["low"]):
                axes.plot([spent, spent], [row["low"], row["high"]], color=look.color, lw=1.6, alpha=0.6)
            axes.plot(
                spent, row["estimate"], look.marker, color=look.color, ms=8, mec="white", label=row["arm"]
            )
        axes.set_xscale("log")
        _log_ticks(axes, max(cost.values()) / min(cost.values()))
        axes.set_xlabel(name)
    in_percent(panels[0].yaxis)
    panels[0].set_title(f"{subject.aim}, %")
    _legend(figure, panels[0])


def _costs(subject: FigureStyle) -> dict[str, dict[str, float]]:
    """What is spent -> arm -> how much; zero has no place on a logarithmic scale."""
    arms, batch = subject.results.arms, subject.results.latency_batch
    spent = "ms a batch" if batch is None else f"ms a batch of {batch}"
    costs = {
        "multiply-adds a sample, modules and adapters": {
            arm.label: float(arm.fusion_multiply_adds) for arm in arms if arm.fusion_multiply_adds
        },
        spent: {arm.label: arm.latency_ms for arm in arms if arm.latency_ms},
    }
    return {name: cost for name, cost in costs.items() if cost}


def _log_ticks(axes: Axes, ratio: float) -> None:
    """Decades where there are several; 1, 2 and 5 of each where all costs lie within two."""
    subs = (1.0,) if ratio > 300 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(10, subs=subs, numticks=9))
    axes.xaxis.set_minor_formatter(NullFormatter())
    in_thousands(axes.xaxis)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", handlelength=2.6)
