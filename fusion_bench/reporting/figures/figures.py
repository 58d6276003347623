"""The figures of a report, by name; every number in them comes from `Tables`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from matplotlib.figure import Figure
from matplotlib.text import Text

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.gallery import draw_gallery, gallery_size
from fusion_bench.reporting.figures.heatmaps import draw_slices, slices_size
from fusion_bench.reporting.figures.intervals import (
    differences_size,
    draw_differences,
    draw_means,
    means_size,
)
from fusion_bench.reporting.figures.style import canvas, write_png, write_vector
from fusion_bench.reporting.figures.trends.costs import costs_size, draw_costs
from fusion_bench.reporting.figures.trends.curves import curves_size, draw_curves
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults

FigureSize: TypeAlias = Callable[[FigureData], tuple[float, float] | None]
"""Returns width and height of a figure in inches; None if there is nothing to draw."""
DrawFigure: TypeAlias = Callable[[FigureData, Figure], None]
"""Draws into a figure of that size."""


@dataclass(frozen=True)
class _Drawing:
    """One figure.

    Attributes:
        size: returns its size.
        draw: draws it.
        caption: what the figure shows.
        photographs: whether it contains photographs.
    """

    size: FigureSize
    draw: DrawFigure
    caption: str
    photographs: bool = False


_PLOTS = {
    "arms": _Drawing(
        means_size, draw_means, "Mean and 95 % interval of every arm and control, with the floors"
    ),
    "differences": _Drawing(
        differences_size, draw_differences, "Paired differences from the reference with their intervals"
    ),
    "curves": _Drawing(
        curves_size, draw_curves, "Learning curves: mean over seeds, band from the lowest seed to the highest"
    ),
    "costs": _Drawing(
        costs_size, draw_costs, "The primary metric against each cost of the arms, with their Pareto front"
    ),
    "slices": _Drawing(slices_size, draw_slices, "The primary metric of every arm on every slice"),
    "samples": _Drawing(
        gallery_size, draw_gallery, "Samples on which the arms disagree, with their answers", photographs=True
    ),
}


@dataclass(frozen=True)
class Drawn:
    """One figure that was drawn.

    Attributes:
        caption: what the figure shows.
        note: a sentence on characters that no font of this machine has; empty if there is none.
    """

    caption: str
    note: str


def draw_figures(results: StudyResults, tables: Tables, folder: Path) -> dict[str, Drawn]:
    """Draw every figure that has numbers into ``folder``, and delete the file of every figure without numbers.

    Returns:
        File name without its ending -> the figure.
    """
    data = FigureData.of(results, tables)
    figures = {}
    for name, plot in _PLOTS.items():
        path = folder / f"{name}.png"
        size = plot.size(data)
        if size is None:
            path.unlink(missing_ok=True)
            continue
        with canvas(*size, data.lettering) as figure:
            plot.draw(data, figure)
            write_png(figure, path, photographs=plot.photographs)
        figures[name] = Drawn(plot.caption, data.lettering.note(_drawn_text(figure)))
    return figures


def draw_vectors(results: StudyResults, tables: Tables, folder: Path) -> dict[str, str]:
    """Draw every figure that has numbers into ``folder``, as PDF and as SVG.

    Returns:
        File name without its ending -> what the figure shows.
    """
    data = FigureData.of(results, tables)
    drawn = {name: draw_vector(data, plot.size, plot.draw, folder / name) for name, plot in _PLOTS.items()}
    return {name: _PLOTS[name].caption for name, is_drawn in drawn.items() if is_drawn}


def draw_vector(data: FigureData, size: FigureSize, draw: DrawFigure, path: Path) -> bool:
    """Draw a figure as ``path.pdf`` and ``path.svg``, or delete both files if it has no numbers.

    Args:
        data: the input of the figure.
        size: returns its size; see `FigureSize`.
        draw: draws it.
        path: the files without their ending.

    Returns:
        Whether it is drawn.
    """
    files = [path.with_name(f"{path.name}.{ending}") for ending in ("pdf", "svg")]
    inches = size(data)
    if inches is None:
        for file in files:
            file.unlink(missing_ok=True)
        return False
    with canvas(*inches, data.lettering) as figure:
        draw(data, figure)
        for file in files:
            write_vector(figure, file)
    return True


def _drawn_text(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))
