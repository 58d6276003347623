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
from fusion_bench.reporting.tables.tables import records

_ROW = 0.34
_VERDICTS = {"better": "#0072b2", "worse": "#b3470b", "equivalent": "#007a57"}
_UNDECIDED, _CONTROL = "#57606a", "#afb8c1"
_PANELS = 3
_LETTERS = 26
"""The largest number of letters of the name of a floor, and of that of a cluster."""


def means_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without a finished cell."""
    rows = len(data.means(data.results.primary_split))
    return (WIDTH, 1.1 + _ROW * rows) if rows else None


def draw_means(data: FigureData, figure: Figure) -> None:
    """Draw the primary metric on the evaluated splits, one panel each, with floors as dashed lines.

    Rows have the order of the answer: arms, then controls below a line. Beside the first panel stand
    the letters of the tie groups.
    """
    results = data.results
    order = dict.fromkeys([results.primary_split, *results.evaluate_splits])
    splits = [split for split in order if len(data.means(split))][:_PANELS]
    panels = figure.subplots(1, len(splits), sharey=True, sharex=True, squeeze=False)[0]
    labels = list(data.means(results.primary_split)["arm"])
    arms = int((data.means(results.primary_split)["role"] != "control").sum())
    per_seed = data.tables.per_seed
    for axes, split in zip(panels, splits, strict=True):
        own = (per_seed["split"] == split) & (per_seed["metric"] == results.primary)
        for row in records(per_seed[own & per_seed["arm"].isin(labels)]):
            axes.plot(row["value"], labels.index(row["arm"]), "|", color=SOFT, ms=10, alpha=0.6, zorder=2)
        means = data.means(split)
        for row in records(means[means["arm"].isin(labels)]):
            draw_interval(axes, labels.index(row["arm"]), row, data.arm_styles[row["arm"]])
        in_percent(axes.xaxis)
        axes.set_title(f"{data.metric(split, results.primary)}, %")
        as_rows(axes, [data.labels[label] for label in labels])
        if results.primary == "accuracy":
            _draw_floors(axes, results.floors[results.floors["split"] == split], data.lettering)
            axes.set_ylim(len(labels) - 0.1, -0.5)  # space for the names of the floors
        if 0 < arms < len(labels):
            axes.axhline(arms - 0.5, color=FAINT, lw=1, zorder=1)
    _write_ties(data, panels[0], labels)
    cluster = data.lettering.fit(results.cluster, _LETTERS)
    figure.supxlabel(
        f"bar: 95 % interval over new seeds and new {cluster}s;  tick: one seed"
        + (";  arms that share a letter cannot be told apart" if data.tables.ties.arms else ""),
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
    for floor in records(floors):
        axes.axvline(floor["accuracy"], color=SOFT, lw=1, ls=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"{lettering.fit(floor['name'], _LETTERS)} {percent(floor['accuracy'])} %",
            (floor["accuracy"], 0),
            xycoords=("data", "axes fraction"),
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=8,
            color=SOFT,
            ha="left",
            va="bottom",
        )


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
