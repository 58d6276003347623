"""The critical-difference diagram of Demšar (2006), drawn by scikit-posthocs in the style of the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fusion_bench.reporting.figures.lettering import Lettering
from fusion_bench.reporting.figures.style import INK, SOFT, WIDTH, canvas, write_png
from fusion_bench.storage import replacing

_ROW = 0.24
_BARS = 3  # about as many lie above each other
_FORMATS: Mapping[str, Mapping[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""The entries of each format's metadata that would tell the time, so that equal figures are equal files."""


def draw_critical_differences(
    mean_ranks: Mapping[str, float],
    p_values: npt.NDArray[np.float64],
    critical_difference: float,
    path: Path,
) -> None:
    """Draw mean ranks with bars that join the arms that are not told apart, as ``path`` + .png, .svg and .pdf.

    Args:
        mean_ranks: by arm.
        p_values: ``[A, A]``, of all pairs of arms, in the order of ``mean_ranks``.
        critical_difference: the smallest difference of two mean ranks that is shown, in ranks.
        path: the files to write, without their ending.
    """
    from scikit_posthocs import critical_difference_diagram  # noqa: PLC0415 - an extra, which imports pyplot

    arms = list(mean_ranks)
    rows = (len(arms) + 1) // 2
    with canvas(WIDTH, 1.1 + _ROW * (rows + _BARS), Lettering.of(arms)) as figure:
        axes = figure.add_subplot()
        axes.grid(visible=False)
        matrix = pd.DataFrame(p_values, index=arms, columns=arms)
        drawn = critical_difference_diagram(
            dict(mean_ranks),
            matrix,
            ax=axes,
            text_h_margin=0.01 * len(arms),
            label_fmt_left="{label}  {rank:.2f}",
            label_fmt_right="{rank:.2f}  {label}",
            elbow_props={"color": SOFT, "linewidth": 1},
            marker_props={"color": INK, "s": 22, "clip_on": False},
            crossbar_props={"color": INK, "linewidth": 3},
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for label in drawn["labels"]:
            label.set_color(INK)
        axes.set_title(
            f"Mean ranks over data sets, 1 is the best. Bars join arms that are not told apart\n"
            f"(Nemenyi; critical difference {critical_difference:.2f} ranks)",
            fontsize=10,
        )
        write_png(figure, path.with_suffix(".png"), photographs=False)
        _write_vectors(figure, path)


def _write_vectors(figure: Figure, path: Path) -> None:
    for ending, metadata in _FORMATS.items():
        with replacing(path.with_suffix(f".{ending}")) as part:
            figure.savefig(part, format=ending, metadata=dict(metadata))
