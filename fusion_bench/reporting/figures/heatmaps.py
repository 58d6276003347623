"""The figure of slices: the primary metric of every arm on every slice."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.cells import cell_len

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.style import SOFT, WIDTH

_NAME_LETTERS, _VALUE_LETTERS = 40, 28
"""The largest numbers of letters of a slice and of one of its values."""
_TITLE_LETTER, _VALUE_LETTER, _LABEL_LETTER = 0.105, 0.083, 0.085
"""The widths in inches of a letter of the name of a slice, of a value below it, and of an arm."""
_CELL, _BETWEEN = 0.52, 0.15
"""The smallest width of a cell of a map, and the distance of two maps."""
_ROW, _AROUND, _CROWDED = 0.33, 0.95, 0.4
"""The heights of an arm, of what stands above and below a map, and of slanted values."""


@dataclass(frozen=True, eq=False)
class _Map:
    """The map of one slice.

    Attributes:
        title: its name, as it is drawn.
        values: its values, as they are drawn.
        table: its rows of `Tables.slices`.
        width: the width in inches that its name and its values need.
    """

    title: str
    values: list[str]
    table: pd.DataFrame
    width: float


def slices_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without slices."""
    table = data.tables.slices
    if table.empty:
        return None
    return WIDTH, sum(_height(data, row) for row in _rows(data)) + 0.2


def draw_slices(data: FigureData, figure: Figure) -> None:
    """Draw one heat map per slice column, with the number of samples below each value.

    As many maps as fit stand side by side. The colours span the values of the arms, not those of the controls.
    """
    table = data.tables.slices
    of_arms = table[table["role"] != "control"]["estimate"]
    ends = of_arms if len(of_arms) else table["estimate"]
    rows = _rows(data)
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=[_height(data, row) for row in rows])
    for part, maps in zip(parts[:, 0], rows, strict=True):
        widths = [found.width for found in maps]
        panels = part.subplots(1, len(maps), sharey=True, squeeze=False, width_ratios=widths)[0]
        for axes, found in zip(panels, maps, strict=True):
            _draw_map(data, axes, found, (100 * ends.min(), 100 * ends.max()))
    figure.supxlabel(f"{data.primary}, %;  below each value: number of samples", fontsize=9, color=SOFT)


def _draw_map(data: FigureData, axes: Axes, found: _Map, ends: tuple[float, float]) -> None:
    part = found.table
    values = list(part["value"].unique())
    grid = part.pivot(index="arm", columns="value", values="estimate").loc[list(part["arm"].unique()), values]
    sns.heatmap(
        100 * grid,
        ax=axes,
        annot=True,
        fmt=".1f",
        cmap=sns.light_palette("#0072b2", as_cmap=True),
        vmin=ends[0],
        vmax=ends[1],
        cbar=False,
        linewidths=1.5,
        linecolor="white",
        annot_kws={"fontsize": 9},
        xticklabels=found.values,
        yticklabels=[data.labels[label] for label in grid.index],
    )
    counts = part.drop_duplicates("value")["samples"]
    labels = [f"{value}\n{number}" for value, number in zip(found.values, counts, strict=True)]
    crowded = found.width > _room(data)
    axes.set_xticks(
        axes.get_xticks(), labels, rotation=25 if crowded else 0, ha="right" if crowded else "center"
    )
    axes.tick_params(axis="both", length=0)
    axes.tick_params(axis="y", rotation=0)
    axes.set(xlabel="", ylabel="")
    axes.set_title(found.title)


def _rows(data: FigureData) -> list[list[_Map]]:
    """Return the maps, line by line: as many as fit side by side."""
    lines: list[list[_Map]] = []
    left = 0.0
    for found in _maps(data):
        if not lines or found.width > left:
            lines.append([])
            left = _room(data)
        lines[-1].append(found)
        left -= found.width + _BETWEEN
    return lines


def _maps(data: FigureData) -> list[_Map]:
    table = data.tables.slices
    found = []
    for name in table["slice"].unique():
        own = table[table["slice"] == name]
        title = data.lettering.fit(name, _NAME_LETTERS)
        values = [data.lettering.fit(value, _VALUE_LETTERS) for value in own["value"].unique()]
        cell = max(_CELL, *(_VALUE_LETTER * (cell_len(value) + 1) for value in values))
        found.append(_Map(title, values, own, max(len(values) * cell, _TITLE_LETTER * cell_len(title))))
    return found


def _room(data: FigureData) -> float:
    """Return the width in inches that is left for maps beside the names of the arms."""
    names = [data.labels[label] for label in data.tables.slices["arm"].unique()]
    return WIDTH - 0.2 - _LABEL_LETTER * max(map(cell_len, names))


def _height(data: FigureData, maps: list[_Map]) -> float:
    crowded = _CROWDED if maps[0].width > _room(data) else 0.0
    return _AROUND + crowded + _ROW * data.tables.slices["arm"].nunique()
