"""The figure of slices: every arm on every kind of question."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusion_bench.reporting.figures.style import WIDTH, FigureStyle

_COLUMNS = 12
_LETTERS = 90
"""So many columns, and letters in their names, fit beside each other."""


def slices_size(subject: FigureStyle) -> tuple[float, float] | None:
    """Inches; None without slices."""
    table = subject.tables.slices
    if table.empty:
        return None
    return WIDTH, _rows(table) * (0.95 + 0.33 * table["arm"].nunique())


def draw_slices(subject: FigureStyle, figure: Figure) -> None:
    """One heat map a slice column, side by side while there is room; the number of samples below each value."""
    table = subject.tables.slices
    parts = {name: table[table["slice"] == name] for name in table["slice"].unique()}
    if _rows(table) > 1:
        panels = figure.subplots(len(parts), 1, squeeze=False)[:, 0]
    else:
        widths = [part["value"].nunique() for part in parts.values()]
        panels = figure.subplots(1, len(parts), sharey=True, squeeze=False, width_ratios=widths)[0]
    ends = 100 * table["estimate"].min(), 100 * table["estimate"].max()
    for axes, (name, part) in zip(panels, parts.items(), strict=True):
        _draw_slice(axes, part, ends)
        axes.set_title(name)
    panels[0].set_title(f"{next(iter(parts))}: {subject.aim}, %")
    figure.supxlabel("below each value: number of samples", fontsize=9, color="#6e7781")


def _draw_slice(axes: Axes, part: pd.DataFrame, ends: tuple[float, float]) -> None:
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
    )
    counts = part.drop_duplicates("value")["samples"]
    heads = [f"{value}\n{number}" for value, number in zip(values, counts, strict=True)]
    crowded = sum(map(len, values)) > _LETTERS
    axes.set_xticks(
        axes.get_xticks(), heads, rotation=25 if crowded else 0, ha="right" if crowded else "center"
    )
    axes.tick_params(axis="both", length=0)
    axes.tick_params(axis="y", rotation=0)
    axes.set(xlabel="", ylabel="")


def _rows(table: pd.DataFrame) -> int:
    columns = table[["slice", "value"]].drop_duplicates()
    roomy = len(columns) <= _COLUMNS and columns["value"].str.len().sum() <= _LETTERS
    return 1 if roomy else columns["slice"].nunique()
