"""Charts of the primary metric against a cost, with the Pareto front, and of learning curves with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fusion_bench.reporting.html.svg import Scale, chart, element, shortened, text, title, widened
from fusion_bench.reporting.label_places import places_apart
from fusion_bench.reporting.tables.arm_costs import CostOfArms, arm_costs
from fusion_bench.reporting.tables.formatting import count, percent
from fusion_bench.reporting.tables.tables import Tables, drawn_quantities, selection_quantity
from fusion_bench.results.results import StudyResults

_WIDTH, _HEIGHT = 860.0, 380.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 170.0, 14.0, 44.0
_LABELLED = 8
_LETTER = 13.0


def cost_plots(results: StudyResults, tables: Tables) -> list[tuple[str, str]]:
    """Return for each cost its name and a chart of the arms; controls are left out."""
    return [(costs.name, _cost_plot(results, costs)) for costs in arm_costs(results, tables)]


def _cost_plot(results: StudyResults, costs: CostOfArms) -> str:
    rows, cost, name, write = costs.rows, costs.amounts, costs.name, costs.write
    amounts = list(cost.values())
    ends = (min(amounts) / 1.1, max(amounts) * 1.1) if costs.wide else widened(amounts)
    across = Scale(*ends, _LEFT, _WIDTH - _RIGHT, logarithmic=costs.wide)
    down = Scale(*widened([row["estimate"] for row in rows], 0.1), _HEIGHT - _BOTTOM, _TOP)
    parts = _frame(across, down, [(tick, write(tick)) for tick in across.ticks()])
    parts.append(text(name, _LEFT, _HEIGHT - 6, class_="tick"))
    places = {row["arm"]: (across(cost[row["arm"]]), down(row["estimate"])) for row in rows}
    parts.append(
        element("polyline", points=_path(_stairs([places[arm] for arm in costs.front])), class_="front")
    )
    for row in rows:
        x, y = places[row["arm"]]
        said = f"{row['arm']}: {percent(row['estimate'])} %, {write(cost[row['arm']])} {name}"
        kind = (
            "reference"
            if row["arm"] == results.reference
            else "front"
            if row["arm"] in costs.front
            else "open"
        )
        mark = title(said) + element("circle", cx=x, cy=y, r=5, class_="mark")
        parts.append(element("g", mark, class_=f"arm {kind}", data_arm=row["arm"]))
    parts += _labels({arm: places[arm] for arm in costs.named(results.reference, _LABELLED)})
    return chart(_WIDTH, _HEIGHT, parts, label=f"{results.primary_split} {results.primary} against {name}")


def _stairs(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of the front: what is reached at one cost is reached at every higher one."""
    corners = [places[0]]
    for x, y in places[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return [*corners, (_WIDTH - _RIGHT, corners[-1][1])]


def _labels(places: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the labels of points in a column at the right, in their order from top to bottom, with leading lines."""
    parts, x = [], _WIDTH - _RIGHT + 14
    ordered = sorted(places.items(), key=lambda item: item[1][1])
    heights = places_apart([height for _, (_, height) in ordered], _LETTER, _TOP, _HEIGHT - _BOTTOM)
    for (arm, (at, height)), y in zip(ordered, heights, strict=True):
        parts.append(element("line", x1=at + 6, y1=height, x2=x - 3, y2=y, class_="lead"))
        parts.append(
            element("g", text(shortened(arm, 22), x, y + 4, class_="name"), class_="arm", data_arm=arm)
        )
    return parts


def curve_plots(results: StudyResults, tables: Tables) -> list[tuple[str, str]]:
    """Return a chart of the selection metric and one of the training loss: mean over seeds, band of all seeds.

    The best arms, the reference and the best controls are labelled, the others are grey.
    """
    charts = []
    chosen = selection_quantity(results)
    for quantity in drawn_quantities(results):
        curves = results.curves[results.curves["quantity"] == quantity]
        shown = (
            f"{results.select_split} {quantity.removeprefix('select/')}"
            if quantity == chosen
            else "training loss"
        )
        charts.append((shown, _curve_plot(results, tables, curves, shown, share=quantity == chosen)))
    return charts


def _curve_plot(
    results: StudyResults, tables: Tables, curves: pd.DataFrame, name: str, *, share: bool
) -> str:
    means = curves.groupby(["arm", "samples_seen"], observed=True)["value"].agg(["mean", "min", "max"])
    arms = [arm for arm in tables.order if arm in means.index.get_level_values("arm")]
    controls = {arm.label for arm in results.arms if arm.role == "control"}
    fitted = means[[label not in controls for label in means.index.get_level_values("arm")]]
    fitted = fitted if len(fitted) else means
    # An axis fitted to the first epochs would press the end of all curves together.
    values = fitted["mean"].to_numpy()
    across = Scale(0.0, float(curves["samples_seen"].max()), _LEFT, _WIDTH - _RIGHT)
    down = Scale(*widened([float(values.min()), float(values.max())]), _HEIGHT - _BOTTOM, _TOP)
    parts = _frame(across, down, [(tick, count(tick)) for tick in across.ticks()], share=share)
    parts.append(text("training samples seen", _LEFT, _HEIGHT - 6, class_="tick"))
    named = [arm for arm in dict.fromkeys([results.reference, *arms]) if arm in arms][:_LABELLED]
    ends = {}
    for arm in reversed([*named, *(arm for arm in arms if arm not in named)]):
        own = means.loc[arm]
        xs = [across(float(x)) for x in own.index.to_numpy(dtype=np.float64)]
        line, upper, lower = (
            [(x, _kept(down(float(y)))) for x, y in zip(xs, own[name].to_numpy(), strict=True)]
            for name in ("mean", "max", "min")
        )
        kind = "reference" if arm == results.reference else "control" if arm in controls else "open"
        kind += " named" if arm in named else ""
        drawn = title(arm) + element("polygon", points=_path([*upper, *reversed(lower)]), class_="band")
        drawn += element("polyline", points=_path(line), class_="curve")
        parts.append(element("g", drawn, class_=f"arm {kind}", data_arm=arm))
        if arm in named:
            ends[arm] = line[-1]
    parts += _labels(ends)
    return chart(_WIDTH, _HEIGHT, parts, label=f"Learning curves: {name}")


def _frame(
    across: Scale, down: Scale, ticks: Sequence[tuple[float, str]], *, share: bool = True
) -> list[str]:
    parts = []
    for value, said in ticks:
        x = across(value)
        parts.append(element("line", x1=x, x2=x, y1=_TOP, y2=_HEIGHT - _BOTTOM, class_="grid"))
        parts.append(text(said, x, _HEIGHT - _BOTTOM + 16, class_="tick", text_anchor="middle"))
    for value in down.ticks():
        y = down(value)
        said = f"{100 * value:.6g} %" if share else f"{value:.6g}"
        parts.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(text(said, _LEFT - 6, y + 4, class_="tick", text_anchor="end"))
    return parts


def _kept(y: float) -> float:
    return min(max(y, _TOP), _HEIGHT - _BOTTOM)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
