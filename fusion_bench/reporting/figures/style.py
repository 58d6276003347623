"""How figures look: one style, one colour per arm in every figure, the same bytes from the same numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox, BboxTransformFrom, BboxTransformTo
from PIL import Image

from fusion_bench.reporting.tables.formatting import MINUS
from fusion_bench.reporting.tables.tables import Row, Tables
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.storage import replacing

WIDTH = 9.0
"""Inches; with 144 dots an inch a figure is sharp at the width that GitHub shows it in."""
INK, SOFT, FAINT = "#24292f", "#6e7781", "#d8dee4"
RIGHT, WRONG = "#0072b2", "#b3470b"

_OFF_BORDER = 0.237
_MARKERS = "osD^v<>p"
_RC = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#eaeef2",
    "figure.dpi": 144,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 10,
    "svg.hashsalt": "fusion-bench",
}


@dataclass(frozen=True, eq=False)
class FigureStyle:
    """What every figure draws from."""

    results: StudyResults
    tables: Tables
    looks: Mapping[str, ArmStyle]

    @property
    def aim(self) -> str:
        """``test accuracy``: what the verdicts judge."""
        return f"{self.results.primary_split} {self.results.primary}"

    def means(self, split: str) -> pd.DataFrame:
        """The primary metric's means on ``split``, in the study's order."""
        means = self.tables.means
        return means[(means["split"] == split) & (means["metric"] == self.results.primary)]


@dataclass(frozen=True)
class ArmStyle:
    """Colour, marker and line style of one arm."""

    color: str
    marker: str
    dashes: tuple[int, ...]


def arm_styles(arms: Sequence[ArmSummary]) -> dict[str, ArmStyle]:
    """One look per label: arms in colours that the colour-blind can tell, controls in greys and dashes."""
    colors = [str(color) for color in sns.color_palette("colorblind", 10).as_hex()]
    # Grey is what controls wear, and yellow is lost on white.
    colors = [color for place, color in enumerate(colors) if place not in {7, 8}]
    named = [arm.label for arm in arms if arm.role != "control"]
    controls = [arm.label for arm in arms if arm.role == "control"]
    greys = ["#424a53", "#6e7781", "#939ca5", "#b8c0c8"]
    found = {
        label: ArmStyle(colors[place % len(colors)], _MARKERS[place % len(_MARKERS)], ())
        for place, label in enumerate(named)
    }
    dashes = ((4, 2), (1, 1), (5, 2, 1, 2), (8, 2))
    for place, label in enumerate(controls):
        found[label] = ArmStyle(
            greys[place % len(greys)], _MARKERS[place % len(_MARKERS)], dashes[place % len(dashes)]
        )
    return found


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """A figure in the report's style, without pyplot's global state."""
    settings: dict[Any, Any] = {**sns.axes_style("whitegrid"), **_RC}
    with mpl.rc_context(settings):
        yield Figure(figsize=(width, height), layout="constrained", dpi=144)


def write_png(figure: Figure, path: Path, *, photographs: bool) -> None:
    """Save without a date or a program's name, so that equal figures are equal files.

    Drawings take a palette of 256 colours, a third of the bytes in a repository; photographs keep theirs.
    """
    buffer = BytesIO()
    _settle(figure)
    figure.savefig(buffer, format="png", metadata={"Software": None})
    with Image.open(buffer) as drawn, replacing(path) as part:
        colors = drawn.convert("RGB")
        kept = colors if photographs else colors.quantize(256, dither=Image.Dither.NONE)
        kept.save(part, "PNG", optimize=True)


def _settle(figure: Figure) -> None:
    """Lay out once, then hold every axes to whole pixels.

    The layout's solver orders its sums by addresses in memory, so that equal figures differ in the last bit, and
    a line that this bit pushes over the border between two pixels makes another file. All edges lie the same odd
    fraction of a pixel off that border.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        within = axes.figure.bbox
        placed = axes.get_position(original=True).transformed(BboxTransformTo(within))
        pixels = np.round(placed.extents) + _OFF_BORDER
        axes.set_position(Bbox.from_extents(*pixels).transformed(BboxTransformFrom(within)), which="original")


def draw_interval(axes: Axes, place: int, row: Row, look: ArmStyle) -> None:
    """One row of a chart of rows: the estimate and, where there is one, its interval."""
    if not np.isnan(row["low"]):
        axes.plot([row["low"], row["high"]], [place, place], color=look.color, lw=2.2, zorder=3)
    axes.plot(row["estimate"], place, look.marker, color=look.color, ms=7, mec="white", mew=0.8, zorder=4)


def as_rows(axes: Axes, labels: Sequence[str]) -> None:
    """A chart of rows: labels without ticks, lines down only, the first row on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def in_percent(axis: Axis) -> None:
    """Ticks of shares as per cent."""
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}".replace("-", MINUS)))


def in_points(axis: Axis) -> None:
    """Ticks of differences as signed points."""
    axis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _signed(round(100 * value, 6))))


def in_thousands(axis: Axis) -> None:
    """Ticks of counts, shortened: ``15 k``, ``2.5 M``."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _signed(value: float) -> str:
    return f"{value:+.6g}".replace("-", MINUS) if value else "0"


def _short(value: float) -> str:
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.6g}{name}"
    return f"{value:.6g}"
