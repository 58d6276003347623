"""The report's figures, by name; every number in them comes from the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from fusion_bench.reporting.figures.gallery import draw_gallery, gallery_size
from fusion_bench.reporting.figures.heatmaps import draw_slices, slices_size
from fusion_bench.reporting.figures.intervals import (
    differences_size,
    draw_differences,
    draw_means,
    means_size,
)
from fusion_bench.reporting.figures.style import FigureStyle, arm_styles, canvas, write_png
from fusion_bench.reporting.figures.trends import costs_size, curves_size, draw_costs, draw_curves
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults


@dataclass(frozen=True)
class _Drawing:
    """How big a figure is (None: nothing to draw), how it is drawn, what it shows, and if with photographs."""

    size: Callable[[FigureStyle], tuple[float, float] | None]
    draw: Callable[[FigureStyle, Figure], None]
    caption: str
    photographs: bool = False


_DRAWINGS = {
    "arms": _Drawing(
        means_size, draw_means, "Mean and 95 % interval of every arm and control, with the floors"
    ),
    "differences": _Drawing(
        differences_size, draw_differences, "Paired differences from the reference with 95 % intervals"
    ),
    "curves": _Drawing(
        curves_size, draw_curves, "Learning curves: mean over seeds, band from the lowest seed to the highest"
    ),
    "costs": _Drawing(costs_size, draw_costs, "The primary metric against multiply-adds and against latency"),
    "slices": _Drawing(slices_size, draw_slices, "The primary metric of every arm on every slice"),
    "samples": _Drawing(
        gallery_size, draw_gallery, "Samples on which the arms disagree, with every answer", photographs=True
    ),
}


def draw_figures(results: StudyResults, tables: Tables, folder: Path) -> dict[str, str]:
    """Draw every figure that there are numbers for into ``folder``, and remove those there are none for.

    Returns:
        Name of the file without its ending -> what it shows, in words.
    """
    subject = FigureStyle(results, tables, arm_styles(results.arms))
    drawn = {}
    for name, drawing in _DRAWINGS.items():
        path = folder / f"{name}.png"
        size = drawing.size(subject)
        if size is None:
            path.unlink(missing_ok=True)
            continue
        with canvas(*size) as figure:
            drawing.draw(subject, figure)
            write_png(figure, path, photographs=drawing.photographs)
        drawn[name] = drawing.caption
    return drawn
