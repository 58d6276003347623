"""The common style of all figures: one colour per arm in every figure, equal files from equal numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox, BboxTransformFrom, BboxTransformTo
from PIL import Image

from fusion_bench.reporting.figures.lettering import Lettering, without_font_messages
from fusion_bench.reporting.tables.formatting import MINUS
from fusion_bench.reporting.tables.tables import Row
from fusion_bench.results.results import ArmSummary
from fusion_bench.storage import replacing

WIDTH = 9.0
"""The width of every figure in inches; at 144 dots per inch a figure is sharp at the width that GitHub shows."""
PLAIN_LETTERING = Lettering()
"""The fonts of a figure without texts from outside."""
INK, SOFT, FAINT = "#24292f", "#6e7781", "#d8dee4"
RIGHT, WRONG = "#0072b2", "#b3470b"

_OFF_BORDER = 0.237
REST = "#c3cad1"
"""The colour of arms that a figure does not name."""
_MARKERS = "osD^v<>PX"
"""Their number has no factor in common with that of the colours: no two of the first 72 arms are alike."""
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
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a question is no formula
    "xtick.color": SOFT,
    "ytick.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 10,
    "svg.hashsalt": "fusion-bench",
    "pdf.fonttype": 42,  # letters stay text
}


@dataclass(frozen=True)
class ArmStyle:
    """The colour, marker and line style (``dashes``, empty for a solid line) of one arm."""

    color: str
    marker: str
    dashes: tuple[int, ...]


def arm_styles(arms: Sequence[ArmSummary]) -> dict[str, ArmStyle]:
    """Return one style per label: arms in colours for colour-blind readers too, controls in dashed greys."""
    colors = [str(color) for color in sns.color_palette("colorblind", 10).as_hex()]
    # Grey is the colour of controls, and yellow is hard to see on white.
    colors = [color for position, color in enumerate(colors) if position not in {7, 8}]
    arm_labels = [arm.label for arm in arms if arm.role != "control"]
    control_labels = [arm.label for arm in arms if arm.role == "control"]
    greys = ["#424a53", "#6e7781", "#939ca5", "#b8c0c8"]
    styles = {
        label: ArmStyle(colors[position % len(colors)], _MARKERS[position % len(_MARKERS)], ())
        for position, label in enumerate(arm_labels)
    }
    dashes = ((4, 2), (1, 1), (5, 2, 1, 2), (8, 2), (3, 1, 1, 1, 1, 1))
    for position, label in enumerate(control_labels):
        styles[label] = ArmStyle(
            greys[position % len(greys)], _MARKERS[position % len(_MARKERS)], dashes[position % len(dashes)]
        )
    return styles


@contextmanager
def canvas(width: float, height: float, lettering: Lettering = PLAIN_LETTERING) -> Iterator[Figure]:
    """Yield a figure of ``width`` x ``height`` inches in the style of reports, without the global state of pyplot.

    Args:
        width: its width.
        height: its height.
        lettering: its fonts.
    """
    settings: dict[Any, Any] = {
        **sns.axes_style("whitegrid"),
        **_RC,
        "font.family": list(lettering.families),
    }
    with mpl.rc_context(settings), without_font_messages():
        figure = Figure(figsize=(width, height), layout="constrained", dpi=144)
        FigureCanvasAgg(figure)  # keeps its renderer; without it each text that is measured makes another one
        yield figure


def write_png(figure: Figure, path: Path, *, photographs: bool) -> None:
    """Save the figure without a date or a program name, so that equal figures are equal files.

    Args:
        figure: what to save.
        path: the file to write.
        photographs: True keeps all colours; False reduces them to 256, which takes a third of the bytes.
    """
    buffer = BytesIO()
    _settle(figure)
    figure.savefig(buffer, format="png", metadata={"Software": None})
    with Image.open(buffer) as drawn, replacing(path) as part:
        colors = drawn.convert("RGB")
        kept = colors if photographs else colors.quantize(256, dither=Image.Dither.NONE)
        kept.save(part, "PNG", optimize=True)


def write_vector(figure: Figure, path: Path) -> None:
    """Save the figure as SVG or PDF, by the ending of ``path``; without dates, equal figures are equal files."""
    metadata: Mapping[str, Mapping[str, None]] = {
        ".svg": {"Date": None, "Creator": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    _settle(figure)
    with replacing(path) as part:
        figure.savefig(part, format=path.suffix[1:], metadata=dict(metadata[path.suffix]))


def _settle(figure: Figure) -> None:
    """Compute the layout once, then round the position of every axes to whole pixels.

    The solver of the layout adds numbers in the order of memory addresses, so equal figures differ in the last bit.
    A line whose position crosses the border between two pixels by this bit would change the file. Therefore all edges
    get the same distance, an odd fraction of a pixel, from such a border.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        box = axes.figure.bbox
        placed = axes.get_position(original=True).transformed(BboxTransformTo(box))
        pixels = np.round(placed.extents) + _OFF_BORDER
        axes.set_position(Bbox.from_extents(*pixels).transformed(BboxTransformFrom(box)), which="original")


def draw_interval(axes: Axes, position: int, row: Row, style: ArmStyle) -> None:
    """Draw the estimate of ``row`` and, if there is one, its interval, at the height ``position``."""
    if not np.isnan(row["low"]):
        axes.plot([row["low"], row["high"]], [position, position], color=style.color, lw=2.2, zorder=3)
    axes.plot(
        row["estimate"], position, style.marker, color=style.color, ms=7, mec="white", mew=0.8, zorder=4
    )


def as_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Label the rows of a chart without ticks, keep vertical grid lines only, and put the first row on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def in_percent(axis: Axis) -> None:
    """Write the ticks of shares in per cent."""
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}".replace("-", MINUS)))


def in_points(axis: Axis) -> None:
    """Write the ticks of differences in points, with a sign."""
    axis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _signed(round(100 * value, 6))))


def in_thousands(axis: Axis) -> None:
    """Write the ticks of counts in short form: ``15 k``, ``2.5 M``."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _signed(value: float) -> str:
    return f"{value:+.6g}".replace("-", MINUS) if value else "0"


def _short(value: float) -> str:
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.6g}{name}"
    return f"{value:.6g}"
