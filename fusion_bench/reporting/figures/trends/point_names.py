"""Names of points, each beside its point and clear of other points and names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from rich.cells import cell_len

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.style import INK

ChartPoint: TypeAlias = tuple[float, float]
"""A place in a chart, in its own units."""

_SIZE = 8.5
_LETTER, _LINE = 0.62 * _SIZE, 1.25 * _SIZE
"""The usual width of a letter and the height of a line, in points (1/72 inch)."""
_MARK = 4.5
"""Half the side of the square that a mark takes, in points."""
_NEAR = 8.0
_RINGS = (8.0, 16.0, 28.0, 42.0, 58.0, 76.0, 96.0)
"""Distances of a name from its point that are tried, in points; beyond the first, a line leads to the point."""
_DIRECTIONS = (0, 180, 90, 270, 45, 315, 135, 225, 20, 340, 160, 200, 65, 295, 115, 245)
_OUTSIDE = 10.0
"""How much more a square point outside of the chart costs than one of another name or mark."""


@dataclass(frozen=True)
class _Box:
    """A rectangle in points, with its origin in the lower left corner of the chart."""

    left: float
    bottom: float
    right: float
    top: float

    def shared(self, other: _Box) -> float:
        """Return the area that two rectangles share, in square points."""
        across = min(self.right, other.right) - max(self.left, other.left)
        up = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(across, 0.0) * max(up, 0.0)

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.top - self.bottom)


def write_point_names(
    axes: Axes,
    data: FigureData,
    points: Mapping[str, ChartPoint],
    named: Sequence[str],
    lines: Sequence[tuple[ChartPoint, ChartPoint]],
) -> None:
    """Write the names of some points beside them.

    Args:
        axes: a chart whose place in the figure and whose limits are final.
        data: the input of the figure.
        points: label of an arm -> its point, for all points of the chart.
        named: the arms whose names are written; where room is short, the first are placed first.
        lines: ends of level and upright lines that no name should cross.
    """
    scale = 72 / axes.figure.dpi
    frame = axes.get_window_extent()
    corner = np.array([frame.x0, frame.y0])

    def placed(point: ChartPoint) -> tuple[float, float]:
        x, y = (axes.transData.transform(point) - corner) * scale
        return float(x), float(y)

    at = {arm: placed(point) for arm, point in points.items()}
    chart = _Box(0.0, 0.0, frame.width * scale, frame.height * scale)
    taken = [_Box(x - _MARK, y - _MARK, x + _MARK, y + _MARK) for x, y in at.values()]
    for ends in lines:
        (x1, y1), (x2, y2) = map(placed, ends)
        taken.append(_Box(min(x1, x2) - 1, min(y1, y2) - 1, max(x1, x2) + 1, max(y1, y2) + 1))
    for arm in named:
        x, y = at[arm]
        width = _LETTER * cell_len(data.labels[arm])
        distance, box = _best(_candidates(x, y, width), taken, chart)
        taken.append(box)
        # A name below or above its point stays in the chart, so its left end is given, not its middle.
        offset = (box.left - x, (box.bottom + box.top) / 2 - y)
        note = axes.annotate(
            data.labels[arm],
            points[arm],
            xytext=offset,
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=_SIZE,
            color=INK,
            zorder=5,
            arrowprops=None
            if distance <= _NEAR
            else {
                "arrowstyle": "-",
                "color": data.arm_styles[arm].color,
                "lw": 0.7,
                "shrinkA": 0,
                "shrinkB": 4,
                "relpos": (min(max((x - box.left) / width, 0.0), 1.0), 0.5),
            },
        )
        note.set_in_layout(False)


def _best(candidates: Iterator[tuple[float, _Box]], taken: Sequence[_Box], chart: _Box) -> tuple[float, _Box]:
    """Return the first candidate that meets nothing, else the one that meets least."""
    best, least = None, math.inf
    for distance, box in candidates:
        cost = sum(box.shared(other) for other in taken) + _OUTSIDE * (box.area - box.shared(chart))
        if cost < least - 1e-6:
            best, least = (distance, box), cost
        if least < 1e-6:
            break
    assert best is not None  # noqa: S101 - there are candidates
    return best


def _candidates(x: float, y: float, width: float) -> Iterator[tuple[float, _Box]]:
    """Yield distances and places of a name of some width around a point, the nearest first."""
    for distance in _RINGS:
        for degrees in _DIRECTIONS:
            dx, dy = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            # The side of the name that faces the point is at the distance.
            middle = x + distance * dx + 0.5 * width * (round(dx, 6) > 0) - 0.5 * width * (round(dx, 6) < 0)
            height = y + distance * dy + 0.5 * _LINE * dy
            yield (
                distance,
                _Box(middle - width / 2, height - _LINE / 2, middle + width / 2, height + _LINE / 2),
            )
