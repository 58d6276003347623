"""The layout of charts of trends: their sizes, the arms that they name, and the names beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.style import INK, WIDTH
from fusion_bench.reporting.label_places import places_apart

MOST_NAMED = 10
"""The largest number of arms that a chart names, but for those that it must name; the others are grey."""
_SIDE_BY_SIDE = 8
_HEIGHT, _AROUND, _LINE = 2.9, 0.95, 0.23
"""The smallest height of a chart; that of its title and its axis; that of a name."""


def panels_size(panels: int, names: int) -> tuple[float, float]:
    """Return width and height in inches of so many charts with up to ``names`` names beside each."""
    return WIDTH, math.ceil(panels / _columns(panels, names)) * _panel_height(names)


def panels_in(figure: Figure, panels: int, names: int) -> list[Axes]:
    """Return the axes of so many charts: two side by side if they name few arms, else one below the other."""
    columns = _columns(panels, names)
    axes = figure.subplots(math.ceil(panels / columns), columns, squeeze=False).reshape(-1)
    for unused in axes[panels:]:
        unused.set_axis_off()
    return list(axes[:panels])


def write_names(axes: Axes, data: FigureData, places: Mapping[str, tuple[float, float]], names: int) -> None:
    """Write the names of arms to the right of a chart, each with a line from its point.

    Args:
        axes: a chart whose limits are final.
        data: the input of the figure.
        places: label of an arm -> its point in the units of the chart; a point outside is led to the edge.
        names: the number of names that `panels_size` was given.
    """
    low, high = axes.get_ylim()
    shares = {arm: min(max((y - low) / (high - low), 0.0), 1.0) for arm, (_, y) in places.items()}
    ordered = sorted(places, key=lambda arm: shares[arm])
    gap = _LINE / (_panel_height(names) - _AROUND)
    for arm, share in zip(
        ordered, places_apart([shares[arm] for arm in ordered], gap, 0.0, 1.0), strict=True
    ):
        axes.annotate(
            data.labels[arm],
            (places[arm][0], min(max(places[arm][1], low), high)),
            xytext=(1.06, share),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=INK,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": data.arm_styles[arm].color,
                "lw": 0.7,
                "alpha": 0.7,
                "shrinkA": 1,
                "shrinkB": 5,
                "relpos": (0, 0.5),
            },
        )


def most_named(arms: int) -> int:
    """Return how many of so many arms a chart names: all, if they are few."""
    return arms if arms <= MOST_NAMED + 2 else MOST_NAMED


def _columns(panels: int, names: int) -> int:
    return 2 if panels > 1 and names <= _SIDE_BY_SIDE else 1


def _panel_height(names: int) -> float:
    return max(_HEIGHT, _AROUND + _LINE * names)
