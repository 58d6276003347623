"""The figure of slices: the primary metric of every arm on every slice."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.cells import cell_len

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.style import WIDTH

_COLUMNS = 12
_LETTERS = 90
"""The largest numbers of columns, and of letters in their names, that fit side by side."""
_NAME_LETTERS, _VALUE_LETTERS = 40, 28
"""The largest numbers of letters of a slice and of one of its values."""


def slices_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without slices."""
    table = data.tables.slices
    if table.empty:
        return None
    return WIDTH, _rows(table) * (0.95 + 0.33 * table["arm"].nunique())


def draw_slices(data: FigureData, figure: Figure) -> None:
    """Draw one heat map per slice column, with the number of samples below each value.

    The maps are side by side if they fit, else one below the other.
    """
    table = data.tables.slices
    parts = {name: table[table["slice"] == name] for name in table["slice"].unique()}
    if _rows(table) > 1:
        panels = figure.subplots(len(parts), 1, squeeze=False)[:, 0]
    else:
        widths = [part["value"].nunique() for part in parts.values()]
        panels = figure.subplots(1, len(parts), sharey=True, squeeze=False, width_ratios=widths)[0]
    ends = 100 * table["estimate"].min(), 100 * table["estimate"].max()
    for axes, (name, part) in zip(panels, parts.items(), strict=True):
        _draw_slice(data, axes, part, ends)
        axes.set_title(data.lettering.fit(name, _NAME_LETTERS))
    panels[0].set_title(f"{panels[0].get_title(loc='left')}: {data.primary}, %")
    figure.supxlabel("below each value: number of samples", fontsize=9, color="#6e7781")


def _draw_slice(data: FigureData, axes: Axes, part: pd.DataFrame, ends: tuple[float, float]) -> None:
    values = list(part["value"].unique())
    grid = part.pivot(index="arm", columns="value", values="estimate").loc[list(part["arm"].unique()), values]
    names = [data.lettering.fit(value, _VALUE_LETTERS) for value in values]
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
        xticklabels=names,
        yticklabels=[data.labels[label] for label in grid.index],
    )
    counts = part.drop_duplicates("value")["samples"]
    labels = [f"{value}\n{number}" for value, number in zip(names, counts, strict=True)]
    crowded = sum(map(cell_len, names)) > _LETTERS
    axes.set_xticks(
        axes.get_xticks(), labels, rotation=25 if crowded else 0, ha="right" if crowded else "center"
    )
    axes.tick_params(axis="both", length=0)
    axes.tick_params(axis="y", rotation=0)
    axes.set(xlabel="", ylabel="")


def _rows(table: pd.DataFrame) -> int:
    columns = table[["slice", "value"]].drop_duplicates()
    fits = len(columns) <= _COLUMNS and columns["value"].map(cell_len).sum() <= _LETTERS
    return 1 if fits else columns["slice"].nunique()
