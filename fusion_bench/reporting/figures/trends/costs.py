"""The figure of the primary metric against each cost of the arms, with their Pareto front."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.limits import fitted_limits
from fusion_bench.reporting.figures.style import REST, SOFT, in_percent
from fusion_bench.reporting.figures.trends.panels import most_named, panels_in, panels_size
from fusion_bench.reporting.figures.trends.point_names import ChartPoint, write_point_names
from fusion_bench.reporting.tables.arm_costs import CostOfArms, arm_costs
from fusion_bench.reporting.tables.tables import Row

_ROOM, _FACTOR = 0.06, 1.12
"""The space beside the points: a share of the range, and a factor on a logarithmic axis."""


def costs_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without an arm that has a cost and a mean."""
    costs = arm_costs(data.results, data.tables)
    return panels_size(len(costs), _names(data, costs)) if costs else None


def draw_costs(data: FigureData, figure: Figure) -> None:
    """Draw a chart per cost: the named arms in colour, the others as grey points; controls are left out."""
    costs = arm_costs(data.results, data.tables)
    panels = panels_in(figure, len(costs), _names(data, costs))
    for axes, cost in zip(panels, costs, strict=True):
        _draw_cost(data, axes, cost)
    notes = ["bar: 95 % interval", "dashes: the arms that no arm beats at the same cost or less"]
    if any(len(_named(data, cost)) < len(cost.rows) for cost in costs):
        notes.append("grey: the other arms")
    figure.supxlabel(";  ".join(notes), fontsize=9, color=SOFT)
    figure.draw_without_rendering()  # places the charts
    for axes, cost in zip(panels, costs, strict=True):
        points = {row["arm"]: (cost.amounts[row["arm"]], row["estimate"]) for row in cost.rows}
        named = _named(data, cost)
        write_point_names(axes, data, points, named, _lines(axes, cost, named))


def _draw_cost(data: FigureData, axes: Axes, cost: CostOfArms) -> None:
    if cost.wide:
        axes.set_xscale("log")
    least, most = min(cost.amounts.values()), max(cost.amounts.values())
    room = _ROOM * ((most - least) or most)
    axes.set_xlim(*((least / _FACTOR, most * _FACTOR) if cost.wide else (least - room, most + room)))
    named = _named(data, cost)
    rows = pd.DataFrame(cost.rows)
    axes.set_ylim(*fitted_limits(rows[rows["arm"].isin(named)], tuple(rows["estimate"])))
    _cost_ticks(axes, cost)
    corners = _corners(axes, cost)
    axes.step(*zip(*corners, strict=True), where="post", color=SOFT, lw=1, ls=(0, (4, 2)), zorder=1)
    for row in cost.rows:
        _draw_arm(data, axes, row, cost.amounts[row["arm"]], named=row["arm"] in named)
    in_percent(axes.yaxis)
    axes.set_title(f"{data.primary}, %")
    axes.set_xlabel(cost.name)


def _corners(axes: Axes, cost: CostOfArms) -> list[ChartPoint]:
    """Return the points of the Pareto front, and the end of its last level line."""
    estimates = {row["arm"]: row["estimate"] for row in cost.rows}
    corners = [(cost.amounts[arm], estimates[arm]) for arm in cost.front]
    return [*corners, (axes.get_xlim()[1], corners[-1][1])]


def _lines(axes: Axes, cost: CostOfArms, named: Sequence[str]) -> list[tuple[ChartPoint, ChartPoint]]:
    """Return the lines of the front, and the intervals of the arms that are named."""
    lines: list[tuple[ChartPoint, ChartPoint]] = []
    for (x, y), (other_x, other_y) in itertools.pairwise(_corners(axes, cost)):
        lines += [((x, y), (other_x, y)), ((other_x, y), (other_x, other_y))]
    for row in cost.rows:
        if row["arm"] in named and not np.isnan(row["low"]):
            amount = cost.amounts[row["arm"]]
            lines.append(((amount, row["low"]), (amount, row["high"])))
    return lines


def _draw_arm(data: FigureData, axes: Axes, row: Row, amount: float, *, named: bool) -> None:
    style = data.arm_styles[row["arm"]]
    color = style.color if named else REST
    if named and not np.isnan(row["low"]):
        axes.plot([amount, amount], [row["low"], row["high"]], color=color, lw=1.4, alpha=0.55, zorder=2)
    size = 8 if named else 6
    axes.plot(
        amount,
        row["estimate"],
        style.marker,
        color=color,
        ms=size,
        mec="white",
        mew=0.8,
        zorder=4 if named else 3,
    )


def _names(data: FigureData, costs: Sequence[CostOfArms]) -> int:
    """Return the largest number of names in one chart."""
    return max(len(_named(data, cost)) for cost in costs)


def _named(data: FigureData, cost: CostOfArms) -> tuple[str, ...]:
    return cost.named(data.results.reference, most_named(len(cost.rows)))


def _cost_ticks(axes: Axes, cost: CostOfArms) -> None:
    """Put ticks at round values; on a logarithmic axis of a ratio up to 300, also at 2 and 5 times each decade."""
    if cost.wide:
        ratio = max(cost.amounts.values()) / min(cost.amounts.values())
        subs = (1.0,) if ratio > 300 else (1.0, 2.0, 5.0)
        axes.xaxis.set_major_locator(LogLocator(10, subs=subs, numticks=9))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: cost.write(value)))
