"""Figures of estimates with intervals: the mean of each arm, and its paired difference from the reference."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.lettering import Lettering
from fusion_bench.reporting.figures.limits import fitted_limits
from fusion_bench.reporting.figures.style import (
    FAINT,
    INK,
    SOFT,
    WIDTH,
    ArmStyle,
    as_rows,
    draw_interval,
    in_percent,
    in_points,
)
from fusion_bench.reporting.tables.formatting import margin_text, percent, points
from fusion_bench.reporting.tables.tables import Row, records

_ROW = 0.34
_VERDICTS = {"better": "#0072b2", "worse": "#b3470b", "equivalent": "#007a57"}
_UNDECIDED, _CONTROL = "#57606a", "#afb8c1"
_PANELS = 3
_LEFTWARD = "\N{BLACK LEFT-POINTING SMALL TRIANGLE}"
_RIGHTWARD = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"
_TIES = 16
"""The most letters of tie groups beside an arm; of more, which the table holds, a chart of means has no room."""
_LETTERS = 26
"""The largest number of letters of the name of a floor, and of that of a cluster."""


def means_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without a finished cell."""
    rows = len(data.means(data.results.primary_split))
    return (WIDTH, 1.1 + _ROW * rows) if rows else None


def draw_means(data: FigureData, figure: Figure) -> None:
    """Draw the primary metric on the evaluated splits, one panel each, with floors as dashed lines.

    Rows have the order of the answer: arms, then controls below a line. Beside the first panel stand the letters of
    the tie groups, unless these are many. The axis is fitted to the arms: a control or floor outside is written at
    its edge.
    """
    results = data.results
    order = dict.fromkeys([results.primary_split, *results.evaluate_splits])
    splits = [split for split in order if len(data.means(split))][:_PANELS]
    panels = figure.subplots(1, len(splits), sharey=True, sharex=True, squeeze=False)[0]
    rows = data.means(results.primary_split)
    labels = list(rows["arm"])
    arms = int((rows["role"] != "control").sum())
    shown = pd.concat([means[means["arm"].isin(labels)] for means in map(data.means, splits)])
    of_arms = shown[shown["role"] != "control"]
    limits = fitted_limits(of_arms if len(of_arms) else shown)
    per_seed = data.tables.per_seed
    for axes, split in zip(panels, splits, strict=True):
        axes.set_xlim(*limits)
        own = (per_seed["split"] == split) & (per_seed["metric"] == results.primary)
        for row in records(per_seed[own & per_seed["arm"].isin(labels)]):
            axes.plot(row["value"], labels.index(row["arm"]), "|", color=SOFT, ms=10, alpha=0.6, zorder=2)
        for row in records(shown[shown["split"] == split]):
            position = labels.index(row["arm"])
            if limits[0] <= row["estimate"] <= limits[1]:
                draw_interval(axes, position, row, data.arm_styles[row["arm"]])
            else:
                _write_beyond(axes, row["estimate"], position, percent(row["estimate"]))
        in_percent(axes.xaxis)
        axes.set_title(f"{data.metric(split, results.primary)}, %")
        as_rows(axes, [data.labels[label] for label in labels])
        if results.primary == "accuracy":
            _draw_floors(axes, results.floors[results.floors["split"] == split], data.lettering)
            axes.set_ylim(len(labels) - 0.1, -0.5)  # space for the names of the floors
        if 0 < arms < len(labels):
            axes.axhline(arms - 0.5, color=FAINT, lw=1, zorder=1)
    with_ties = bool(data.tables.ties.arms) and max(map(len, data.tables.ties.letters)) <= _TIES
    if with_ties:
        _write_ties(data, panels[0], labels)
    cluster = data.lettering.fit(results.cluster, _LETTERS)
    figure.supxlabel(
        f"bar: 95 % interval over new seeds and new {cluster}s;  tick: one seed"
        + (";  arms that share a letter cannot be told apart" if with_ties else ""),
        fontsize=9,
        color=SOFT,
    )


def _write_beyond(axes: Axes, value: float, position: float, text: str) -> None:
    """Write a value at the edge of a chart that ends before it, with a triangle that points to it."""
    below = value < axes.get_xlim()[0]
    axes.annotate(
        f"{_LEFTWARD} {text}" if below else f"{text} {_RIGHTWARD}",
        (0.0 if below else 1.0, position),
        xycoords=("axes fraction", "data"),
        xytext=(3 if below else -3, 0),
        textcoords="offset points",
        va="center",
        ha="left" if below else "right",
        fontsize=9,
        color=SOFT,
    )


def _write_ties(data: FigureData, axes: Axes, labels: list[str]) -> None:
    """Write the letters of the tie groups to the right of the rows."""
    for position, label in enumerate(labels):
        axes.annotate(
            data.tables.ties.of(label),
            (1, position),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=SOFT,
        )


def _draw_floors(axes: Axes, floors: pd.DataFrame, lettering: Lettering) -> None:
    """Draw each floor as a dashed line, or name it at the edge of a chart that ends before it."""
    low, high = axes.get_xlim()
    inside = [floor for floor in records(floors) if low <= floor["accuracy"] <= high]
    for floor in inside:
        axes.axvline(floor["accuracy"], color=SOFT, lw=1, ls=(0, (4, 3)), zorder=1)
        # A name beside a line near the right edge would leave the chart.
        right = floor["accuracy"] > low + 0.7 * (high - low)
        axes.annotate(
            _floor_name(floor, lettering),
            (floor["accuracy"], 0),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if right else 3, 3),
            textcoords="offset points",
            fontsize=8,
            color=SOFT,
            ha="right" if right else "left",
            va="bottom",
        )
    for below in (True, False):
        beyond = [
            floor
            for floor in records(floors)
            if (floor["accuracy"] < low if below else floor["accuracy"] > high)
        ]
        names = ", ".join(_floor_name(floor, lettering) for floor in beyond)
        if names:
            axes.annotate(
                f"{_LEFTWARD} {names}" if below else f"{names} {_RIGHTWARD}",
                (0.0 if below else 1.0, 0),
                xycoords="axes fraction",
                xytext=(3 if below else -3, 3),
                textcoords="offset points",
                fontsize=8,
                color=SOFT,
                ha="left" if below else "right",
                va="bottom",
            )


def _floor_name(floor: Row, lettering: Lettering) -> str:
    return f"{lettering.fit(floor['name'], _LETTERS)} {percent(floor['accuracy'])} %"


def differences_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None if nothing can be compared."""
    table = data.tables.comparisons
    return (WIDTH, 0.9 + 0.5 * table["role"].nunique() + _ROW * len(table)) if len(table) else None


def draw_differences(data: FigureData, figure: Figure) -> None:
    """Draw arms above and controls below, each on its own scale, so that small differences of arms are readable."""
    table, reference = data.tables.comparisons, data.results.reference
    parts = [(role, table[table["role"] == role]) for role in ("arm", "control")]
    parts = [(role, part) for role, part in parts if len(part)]
    panels = figure.subplots(
        len(parts), 1, squeeze=False, height_ratios=[len(part) + 0.6 for _, part in parts]
    )[:, 0]
    for axes, (role, part) in zip(panels, parts, strict=True):
        title = (
            f"{data.primary} less that of {data.labels[reference]}, points" if role == "arm" else "controls"
        )
        _draw_rows(data, axes, part)
        axes.set_title(title)
    level = "95 % interval" if data.results.stages is None else "interval, at the level of the arm's look,"
    note = f"bar: {level} of the paired difference"
    if data.results.margin is not None:
        note += f";  band: differences within the margin of {margin_text(data.results.margin)}"
    figure.supxlabel(note, fontsize=9, color=SOFT)


def _draw_rows(data: FigureData, axes: Axes, table: pd.DataFrame) -> None:
    margin = data.results.margin
    if margin is not None:
        axes.axvspan(-margin, margin, color=_VERDICTS["equivalent"], alpha=0.10, lw=0, zorder=0)
    axes.axvline(0, color=INK, lw=1, zorder=1)
    for position, row in enumerate(records(table)):
        default = _UNDECIDED if row["role"] == "arm" else _CONTROL
        color = _VERDICTS.get(row["verdict"], default)
        draw_interval(axes, position, row, ArmStyle(color, data.arm_styles[row["arm"]].marker, ()))
        for text, offset, side in ((points(row["estimate"]), 42, "right"), (row["verdict"], 52, "left")):
            axes.annotate(
                text,
                (1, position),
                xycoords=("axes fraction", "data"),
                xytext=(offset, 0),
                textcoords="offset points",
                va="center",
                ha=side,
                fontsize=9.5,
                color=_VERDICTS.get(row["verdict"], SOFT),
            )
    as_rows(axes, [data.labels[label] for label in table["arm"]])
    axes.set_xlim(*fitted_limits(table, (0.0, -(margin or 0.0), margin or 0.0)))
    in_points(axes.xaxis)
