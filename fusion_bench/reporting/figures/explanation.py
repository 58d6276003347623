"""One explained sentence as a picture: where each word is listened to, and the kernels that come of it."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from PIL import Image

from fusion_bench.errors import DataError
from fusion_bench.explain.explain import ExplainedCell
from fusion_bench.explain.kernel_selection import MapPosition, kernel_norms, select_positions, strongest_group
from fusion_bench.reporting.figures.style import (
    INK,
    RIGHT,
    SOFT,
    WIDTH,
    WRONG,
    canvas,
    in_percent,
    write_png,
)
from fusion_bench.samples.vocabulary import tokenize

_LETTERS = "ABCD"
"""Names of the shown positions, at most so many."""
_PICTURE = 0.4
"""Share of the width that the picture takes."""
_LINE, _SENTENCE_LINE, _CAPTION_LINE = 0.24, 0.26, 0.16
_SENTENCE_LETTERS, _CAPTION_LETTERS = 46, 148
_TITLE, _SCALE, _KERNELS = 0.26, 0.56, 1.75
"""Inches: a line of text of each kind, the title over a panel, the colour scale under panels, a kernel."""
_COLUMNS = 3, 6
"""Fewest and most panels of words side by side."""
_BLUE, _ORANGE, _PALE = "#0072b2", "#d55e00", "#f6f8fa"
_FADED = 2.0
"""The picture under a heat map keeps the lightest of ``1 + _FADED`` parts of the greys."""
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True, eq=False)
class Sheet:
    """What is drawn, and how much room each part takes (inches).

    Attributes:
        explained: what a module listened to.
        picture: ``[H, W, 3]``, as it lies on the disk.
        shown: positions whose kernels are drawn.
        caption: what is seen, in lines.
    """

    explained: ExplainedCell
    picture: npt.NDArray[np.uint8]
    shown: tuple[MapPosition, ...]
    caption: tuple[str, ...]

    @property
    def aspect(self) -> float:
        """Width of the picture over its height."""
        return float(self.picture.shape[1] / self.picture.shape[0])

    @property
    def sentence(self) -> list[str]:
        """The sentence, in lines."""
        return textwrap.wrap(" ".join(self.explained.subject.text.split()), _SENTENCE_LETTERS)

    @property
    def columns(self) -> int:
        """Panels of words side by side: more for narrow pictures."""
        return int(np.clip(round(WIDTH / (1.25 * self.aspect)), *_COLUMNS))

    @property
    def rows(self) -> int:
        """Rows of panels of words."""
        return math.ceil(len(self.explained.words) / self.columns)

    @property
    def heights(self) -> tuple[float, float, float, float]:
        """Of the head, the words, the kernels (0 without any) and the caption."""
        text = _SENTENCE_LINE * len(self.sentence) + _LINE * (len(_said(self.explained)) + 1)
        kernels = 0.0 if self.explained.kernels is None else _KERNELS + _TITLE + _SCALE
        return (
            max(_PICTURE * WIDTH / self.aspect, text) + 0.1,
            self.rows * (WIDTH / self.columns / self.aspect + _TITLE) + _SCALE,
            kernels,
            _CAPTION_LINE * (len(self.caption) + 0.5),
        )


def draw_explained(explained: ExplainedCell, path: Path) -> None:
    """Write one PNG: the picture with the sentence, a panel per word, and the kernels if there are any.

    Args:
        explained: what a module listened to.
        path: the PNG to write.

    Raises:
        DataError: the picture cannot be read.
    """
    sheet = sheet_of(explained)
    with canvas(WIDTH, sum(sheet.heights)) as figure:
        draw_sheet(figure, sheet)
        write_png(figure, path, photographs=True)


def sheet_of(explained: ExplainedCell) -> Sheet:
    """Open the picture, choose positions and say what is seen."""
    kernels = explained.kernels
    shown = () if kernels is None else tuple(select_positions(kernels, len(_LETTERS)))
    return Sheet(explained, _opened(explained.subject.image), shown, _caption(explained, shown))


def draw_sheet(figure: Figure, sheet: Sheet) -> None:
    """Head, words, kernels and caption, one under the other."""
    kernels = sheet.explained.kernels
    heights = [height for height in sheet.heights if height]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_head(parts[0], sheet)
    _draw_words(parts[1], sheet)
    if kernels is not None:
        _draw_kernels(parts[2], sheet, kernels)
    for line, text in enumerate(sheet.caption):
        down = (line + 0.2) * _CAPTION_LINE / sheet.heights[-1]
        parts[-1].text(0.01, 1 - down, text, va="top", fontsize=8.5, color=SOFT, parse_math=False)


def _opened(path: Path) -> npt.NDArray[np.uint8]:
    """The picture as it lies on the disk ``[H, W, 3]``."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise DataError(f"cannot read the image {path}: {error}") from error


def _draw_head(part: SubFigure, sheet: Sheet) -> None:
    """The picture with the shown positions, the sentence and the answer beside it."""
    height = sheet.heights[0]
    tall = _PICTURE * WIDTH / sheet.aspect
    axes = part.add_axes((0.01, 1 - (tall + 0.05) / height, _PICTURE, tall / height))
    axes.set_axis_off()
    axes.imshow(sheet.picture, interpolation="antialiased")
    if sheet.explained.kernels is not None:
        _mark(axes, sheet, sheet.explained.kernels.shape[2:])
    down = 0.1
    for line in sheet.sentence:
        _write(part, down / height, line, INK, size=13, weight="bold")
        down += _SENTENCE_LINE
    down += 0.5 * _LINE
    for text, color in _said(sheet.explained):
        _write(part, down / height, text, color, size=11)
        down += _LINE


def _write(
    part: SubFigure, down: float, text: str, color: str, *, size: float, weight: str = "normal"
) -> None:
    part.text(
        _PICTURE + 0.035,
        1 - down,
        text,
        va="top",
        fontsize=size,
        color=color,
        fontweight=weight,
        parse_math=False,
    )


def _said(explained: ExplainedCell) -> list[tuple[str, str]]:
    """Lines beside the picture, each with its colour."""
    answer, truth = explained.answer, explained.subject.truth
    lines = []
    if answer is not None:
        color = INK if truth is None else RIGHT if answer.text == truth else WRONG
        lines.append((f"answer: {answer.text}  ({100 * answer.probability:.0f} %)", color))
    if truth is not None:
        lines.append((f"truth: {truth}", INK))
    copy = f", copy {explained.copy} of {explained.copies}" if explained.copies > 1 else ""
    lines.append((f"{explained.arm}, seed {explained.seed}{copy}", SOFT))
    return lines


def _draw_words(part: SubFigure, sheet: Sheet) -> None:
    """One panel a word: how much each position listens to it."""
    explained = sheet.explained
    panels = part.subplots(sheet.rows, sheet.columns, squeeze=False).reshape(-1)
    most = float(explained.attention.max()) or 1.0
    room = int(12 * WIDTH / sheet.columns) - 5
    heat = None
    for axes, word, known, attention in zip(
        panels, explained.words, explained.known, explained.attention, strict=False
    ):
        heat = _draw_heat(axes, sheet, attention, _rising(_BLUE), (0.0, most))
        name = _shortened(word, room) + ("" if known else "*")
        axes.set_title(
            f"{name}  {100 * attention.mean():.0f} %", fontsize=9.5, loc="center", parse_math=False
        )
    for axes in panels:
        axes.set_axis_off()
    assert heat is not None  # noqa: S101 - a sentence has a word
    _draw_scale(part, heat, list(panels), "share of a position's attention, %", shrink=0.35)
    in_percent(part.axes[-1].xaxis)


def _draw_kernels(part: SubFigure, sheet: Sheet, kernels: npt.NDArray[np.float32]) -> None:
    """The norm of the kernels over the picture, and those of the shown positions."""
    size = math.isqrt(kernels.shape[1])
    widths = [min(2.2, _KERNELS * sheet.aspect) / 1.4, *[1.0] * len(_LETTERS)]
    first, *panels = part.subplots(1, len(widths), width_ratios=widths)
    norms = kernel_norms(kernels)
    # From the smallest norm on: kernels have a common part, and what tells positions apart is the rest.
    heat = _draw_heat(first, sheet, norms, _rising(_ORANGE), (float(norms.min()), float(norms.max())))
    _mark(first, sheet, norms.shape)
    first.set_title("norm of the kernels", fontsize=9.5, loc="center")
    group = kernels[strongest_group(kernels)].reshape(size, size, *norms.shape)
    taps = [group[:, :, place.row, place.column] for place in sheet.shown]
    most = max(float(abs(tap).max()) for tap in taps) or 1.0
    for axes in (first, *panels):
        axes.set_axis_off()
    for axes, letter, place, tap in zip(panels, _LETTERS, sheet.shown, taps, strict=False):
        drawn = axes.imshow(tap, cmap=_diverging(), vmin=-most, vmax=most, interpolation="nearest")
        axes.add_patch(Rectangle((-0.5, -0.5), size, size, fill=False, edgecolor=SOFT, lw=0.8, clip_on=False))
        heard = _heard_most(sheet.explained, place, norms.shape)
        axes.set_title(f"{letter}: {heard}", fontsize=9.5, loc="center", parse_math=False)
    _draw_scale(part, heat, [first], "norm", shrink=0.8)
    _draw_scale(part, drawn, panels, "weight of a tap", shrink=0.45)


def _draw_heat(
    axes: Axes, sheet: Sheet, values: npt.NDArray[np.floating], colors: Colormap, ends: tuple[float, float]
) -> AxesImage:
    """Values ``[H, W]``, cell by cell, over the picture in pale grey."""
    height, width = sheet.picture.shape[:2]
    grey = sheet.picture @ np.array([0.299, 0.587, 0.114])
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


def _mark(axes: Axes, sheet: Sheet, shape: tuple[int, ...]) -> None:
    """A frame and a letter at each shown position of a map of ``shape`` over the picture."""
    tall, wide = sheet.picture.shape[0] / shape[0], sheet.picture.shape[1] / shape[1]
    for letter, place in zip(_LETTERS, sheet.shown, strict=False):
        left, top = place.column * wide - 0.5, place.row * tall - 0.5
        for color, thickness in ((INK, 2.4), ("white", 1.2)):
            axes.add_patch(Rectangle((left, top), wide, tall, fill=False, edgecolor=color, lw=thickness))
        axes.text(
            left + wide / 2,
            top + tall / 2,
            letter,
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            color=INK,
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": INK, "linewidth": 0.6},
        )


def _heard_most(explained: ExplainedCell, place: MapPosition, shape: tuple[int, ...]) -> str:
    """The word that a position of a map of ``shape`` listens to most, and how much."""
    height, width = explained.attention.shape[1:]
    row, column = place.row * height // shape[0], place.column * width // shape[1]
    shares = explained.attention[:, row, column]
    word = _shortened(explained.words[int(shares.argmax())], 11)
    return f"{word} {100 * shares.max():.0f} %"


def _caption(explained: ExplainedCell, shown: tuple[MapPosition, ...]) -> tuple[str, ...]:
    """What is seen, in lines."""
    height, width = explained.attention.shape[1:]
    said = [
        f"Study {explained.study}, arm {explained.arm} ({explained.component}), cell {explained.cell}.",
        f"Blue: how much each of {height} x {width} positions listens to the word; in its title, the "
        "mean over positions.",
    ]
    if explained.kernels is not None:
        groups, taps = explained.kernels.shape[:2]
        size = math.isqrt(taps)
        which = f"group {strongest_group(explained.kernels) + 1} of {groups}, the one of largest norm"
        said.append(
            "Orange: norm of all the kernels of a position, from the smallest. "
            f"Kernels {size} x {size}: {which if groups > 1 else 'the only group'}; above each, the word its "
            "position listens to most."
        )
        said.append(_chosen(len(shown)))
    if len(tokenize(explained.subject.text)) > len(explained.words):
        said.append(f"The study reads the first {len(explained.words)} words of a sentence.")
    if not all(explained.known):
        said.append("* not among the words of training: read as an unknown word.")
    if explained.stale_reason:
        said.append(f"The cell is stale: {explained.stale_reason}.")
    return tuple(textwrap.wrap(" ".join(said), _CAPTION_LETTERS))


def _chosen(positions: int) -> str:
    if positions == 1:
        return "A has the largest norm; no other position has kernels of its own."
    return (
        "A has the kernels of largest norm; each further letter is the position whose kernels are farthest from "
        "those before it."
    )


def _rising(color: str) -> Colormap:
    """From nothing to a colour that nearly covers what lies under it."""
    red, green, blue = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return LinearSegmentedColormap.from_list(color, [(red, green, blue, 0.0), (red, green, blue, 0.92)])


def _diverging() -> Colormap:
    """Blue below zero, orange above: told apart by the colour-blind."""
    return LinearSegmentedColormap.from_list("kernels", [_BLUE, _PALE, _ORANGE])


def _shortened(word: str, letters: int) -> str:
    return word if len(word) <= letters else word[: letters - 1] + _ELLIPSIS
