"""The figure of one explained sentence: the attention to each word, and the kernels that the module builds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from fusion_bench.explain.explain import ExplainedCell
from fusion_bench.explain.kernel_selection import MapPosition, kernel_norms, strongest_group
from fusion_bench.reporting.figures.explanation_layout import (
    CAPTION_HEIGHT,
    IMAGE_SHARE,
    KERNEL_HEIGHT,
    LINE_HEIGHT,
    POSITION_NAMES,
    SENTENCE_HEIGHT,
    ExplanationLayout,
    explanation_layout,
)
from fusion_bench.reporting.figures.explanation_text import answer_lines
from fusion_bench.reporting.figures.style import INK, SOFT, WIDTH, canvas, in_percent, write_png

_BLUE, _ORANGE, _PALE = "#0072b2", "#d55e00", "#f6f8fa"
_FADED = 2.0
"""The image under a heat map uses only the lightest of ``1 + _FADED`` equal parts of the grey scale."""


def draw_explained(explained: ExplainedCell, path: Path) -> None:
    """Write one PNG: the image with the sentence, a panel per word, and the kernels if there are any.

    Args:
        explained: the explanation of one fusion module.
        path: the PNG to write.

    Raises:
        DataError: the image cannot be read.
    """
    layout = explanation_layout(explained)
    with canvas(WIDTH, sum(layout.heights), layout.lettering) as figure:
        draw_layout(figure, layout)
        write_png(figure, path, photographs=True)


def draw_layout(figure: Figure, layout: ExplanationLayout) -> None:
    """Draw head, words, kernels and caption, one below the other."""
    kernels = layout.explained.kernels
    heights = [height for height in layout.heights if height]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_head(parts[0], layout)
    _draw_words(parts[1], layout)
    if kernels is not None:
        _draw_kernels(parts[2], layout, kernels)
    for line, text in enumerate(layout.caption):
        down = (line + 0.2) * CAPTION_HEIGHT / layout.heights[-1]
        parts[-1].text(0.01, 1 - down, text, va="top", fontsize=8.5, color=SOFT)


def _draw_head(part: SubFigure, layout: ExplanationLayout) -> None:
    """Draw the image with the shown positions, and beside it the sentence and the answer."""
    height = layout.heights[0]
    tall = IMAGE_SHARE * WIDTH / layout.aspect
    axes = part.add_axes((0.01, 1 - (tall + 0.05) / height, IMAGE_SHARE, tall / height))
    axes.set_axis_off()
    axes.imshow(layout.image, interpolation="antialiased")
    if layout.explained.kernels is not None:
        _mark(axes, layout, layout.explained.kernels.shape[2:])
    down = 0.1
    for line in layout.sentence:
        _write(part, down / height, line, INK, size=13, weight="bold")
        down += SENTENCE_HEIGHT
    down += 0.5 * LINE_HEIGHT
    for text, color in answer_lines(layout.explained, layout.lettering):
        _write(part, down / height, text, color, size=11)
        down += LINE_HEIGHT


def _write(
    part: SubFigure, down: float, text: str, color: str, *, size: float, weight: str = "normal"
) -> None:
    part.text(IMAGE_SHARE + 0.035, 1 - down, text, va="top", fontsize=size, color=color, fontweight=weight)


def _draw_words(part: SubFigure, layout: ExplanationLayout) -> None:
    """Draw one panel per word: the attention of each position to it."""
    explained = layout.explained
    panels = part.subplots(layout.rows, layout.columns, squeeze=False).reshape(-1)
    highest = float(explained.attention.max()) or 1.0
    letters = int(12 * WIDTH / layout.columns) - 5
    heat = None
    for axes, word, known, attention in zip(
        panels, explained.words, explained.known, explained.attention, strict=False
    ):
        heat = _draw_heat(axes, layout, attention, _transparent_to(_BLUE), (0.0, highest))
        name = layout.lettering.fit(word, letters) + ("" if known else "*")
        axes.set_title(f"{name}  {100 * attention.mean():.0f} %", fontsize=9.5, loc="center")
    for axes in panels:
        axes.set_axis_off()
    assert heat is not None  # noqa: S101 - a sentence has a word
    _draw_scale(part, heat, list(panels), "share of a position's attention, %", shrink=0.35)
    in_percent(part.axes[-1].xaxis)


def _draw_kernels(part: SubFigure, layout: ExplanationLayout, kernels: npt.NDArray[np.float32]) -> None:
    """Draw the norm of the kernels over the image, and the kernels of the shown positions."""
    size = math.isqrt(kernels.shape[1])
    widths = [min(2.2, KERNEL_HEIGHT * layout.aspect) / 1.4, *[1.0] * len(POSITION_NAMES)]
    first, *panels = part.subplots(1, len(widths), width_ratios=widths)
    norms = kernel_norms(kernels)
    # The scale starts at the smallest norm: kernels have a common part, and only the rest differs between positions.
    heat = _draw_heat(
        first, layout, norms, _transparent_to(_ORANGE), (float(norms.min()), float(norms.max()))
    )
    _mark(first, layout, norms.shape)
    first.set_title("norm of the kernels", fontsize=9.5, loc="center")
    group = kernels[strongest_group(kernels)].reshape(size, size, *norms.shape)
    taps = [group[:, :, position.row, position.column] for position in layout.shown]
    highest = max(float(abs(tap).max()) for tap in taps) or 1.0
    for axes in (first, *panels):
        axes.set_axis_off()
    for axes, letter, position, tap in zip(panels, POSITION_NAMES, layout.shown, taps, strict=False):
        drawn = axes.imshow(tap, cmap=_diverging(), vmin=-highest, vmax=highest, interpolation="nearest")
        axes.add_patch(Rectangle((-0.5, -0.5), size, size, fill=False, edgecolor=SOFT, lw=0.8, clip_on=False))
        word = _most_attended(layout, position, norms.shape)
        axes.set_title(f"{letter}: {word}", fontsize=9.5, loc="center")
    _draw_scale(part, heat, [first], "norm", shrink=0.8)
    _draw_scale(part, drawn, panels, "weight of a tap", shrink=0.45)


def _draw_heat(
    axes: Axes,
    layout: ExplanationLayout,
    values: npt.NDArray[np.floating],
    colors: Colormap,
    ends: tuple[float, float],
) -> AxesImage:
    """Draw ``values`` ``[H, W]``, position by position, over the image in pale grey; ``ends`` limit the scale."""
    height, width = layout.image.shape[:2]
    grey = layout.image @ np.array([0.299, 0.587, 0.114])
    low, high = float(grey.min()), float(grey.max())
    axes.imshow(
        grey, cmap="gray", vmin=low - _FADED * (high - low + 1), vmax=high, interpolation="antialiased"
    )
    return axes.imshow(
        values,
        cmap=colors,
        vmin=ends[0],
        vmax=ends[1],
        interpolation="nearest",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )


def _draw_scale(part: SubFigure, drawn: AxesImage, under: list[Axes], label: str, *, shrink: float) -> None:
    scale = part.colorbar(drawn, ax=under, location="bottom", shrink=shrink, aspect=24, pad=0.03)
    scale.set_label(label, fontsize=8.5, color=SOFT)
    scale.ax.tick_params(labelsize=8, length=2)
    scale.outline.set_visible(False)


def _mark(axes: Axes, layout: ExplanationLayout, shape: tuple[int, ...]) -> None:
    """Draw a frame around each shown position of a map of ``shape`` over the image, and its letter beside it.

    A letter stands above its frame, in the uppermost row of the map below it, so that it covers no shown position but
    those of neighbours.
    """
    tall, wide = layout.image.shape[0] / shape[0], layout.image.shape[1] / shape[1]
    for letter, position in zip(POSITION_NAMES, layout.shown, strict=False):
        left, top = position.column * wide - 0.5, position.row * tall - 0.5
        for color, thickness in ((INK, 2.4), ("white", 1.2)):
            axes.add_patch(Rectangle((left, top), wide, tall, fill=False, edgecolor=color, lw=thickness))
        below = position.row == 0
        axes.annotate(
            letter,
            (left + wide / 2, top + tall if below else top),
            xytext=(0, -5 if below else 5),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            fontsize=8,
            fontweight="bold",
            color=INK,
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": INK, "linewidth": 0.6},
        )


def _most_attended(layout: ExplanationLayout, position: MapPosition, shape: tuple[int, ...]) -> str:
    """Return the word with the largest attention at a position of a map of ``shape``, and its share."""
    explained = layout.explained
    height, width = explained.attention.shape[1:]
    row, column = position.row * height // shape[0], position.column * width // shape[1]
    shares = explained.attention[:, row, column]
    word = layout.lettering.fit(explained.words[int(shares.argmax())], 11)
    return f"{word} {100 * shares.max():.0f} %"


def _transparent_to(color: str) -> Colormap:
    """Return a colour map from transparent to nearly opaque ``color``."""
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return LinearSegmentedColormap.from_list(color, [(red, green, blue, 0.0), (red, green, blue, 0.92)])


def _diverging() -> Colormap:
    """Return a colour map that is blue below zero and orange above, for colour-blind readers too."""
    return LinearSegmentedColormap.from_list("kernels", [_BLUE, _PALE, _ORANGE])
