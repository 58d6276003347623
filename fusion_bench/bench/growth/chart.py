"""The picture of measured curves: one panel for each, with logarithmic axes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from fusion_bench.bench.growth.curve import Curve
from fusion_bench.storage import replacing

_COLUMNS = 4
_PANEL = (3.0, 2.6)  # inches
_TITLE_WIDTH = 34  # letters
_LEAST_SPAN = 3.0


def draw_growth(curves: Sequence[Curve], path: Path) -> None:
    """Write a PNG of the times, with the exponent of each curve in the title of its panel."""
    rows = math.ceil(len(curves) / _COLUMNS)
    settings: dict[Any, Any] = {**sns.axes_style("whitegrid")}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(_PANEL[0] * _COLUMNS, _PANEL[1] * rows), layout="constrained", dpi=110)
        panels = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
        for curve, axes in zip(curves, panels, strict=False):
            _draw(curve, axes)
        for axes in panels[len(curves) :]:
            axes.set_axis_off()
        with replacing(path) as part:
            figure.savefig(part, format="png", metadata={"Software": None})


def _draw(curve: Curve, axes: Axes) -> None:
    sizes = [point.size for point in curve.points]
    seconds = [point.seconds for point in curve.points]
    sns.lineplot(x=sizes, y=seconds, marker="o", color="#0072b2", ax=axes)
    axes.set(xscale="log", yscale="log", xlabel=curve.axis, ylabel="seconds")
    if max(seconds) < _LEAST_SPAN * min(seconds):  # a cost that hardly grows shall look flat
        axes.set_ylim(min(seconds) / _LEAST_SPAN, max(seconds) * _LEAST_SPAN)
    title = "\n".join(textwrap.wrap(curve.quantity, _TITLE_WIDTH))
    axes.set_title(f"{title}\nexponent {curve.exponent('seconds'):.2f}", fontsize=8)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=7)
