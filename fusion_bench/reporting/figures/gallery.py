"""The figure of samples on which the arms disagree: the image, the question, and the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from fusion_bench.data.decoding import read_image
from fusion_bench.errors import DataError
from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.gallery_lines import AnswerLine, sample_lines
from fusion_bench.reporting.figures.overlays import draw_boxes, draw_masks, near_boxes
from fusion_bench.reporting.figures.style import SOFT, WIDTH
from fusion_bench.reporting.tables.tables import Row, records

_COLUMNS = 2
_LINE = 0.185
_LETTERS = 60
"""Letters per line of a question."""
_WIDE_ASPECT = 2.2
"""Images whose width is more than this times their height are drawn above the answers, others beside them."""
_IMAGE_SHARE = 0.5
"""The share of the width of a sample that an image beside its answers takes."""
_QUESTION_LINES = 5
_DRAWN = 6
"""The largest number of boxes or masks beside that of the truth."""


@dataclass(frozen=True, eq=False)
class _Card:
    """One sample.

    Attributes:
        row: its row of `StudyResults.pictures`.
        image: ``[H, W, 3]``.
        question: its text, line by line.
        answers: its rows of `Tables.answers`, the best arm first.
        colors: arm -> the colour of its box or mask, for those that are drawn.
    """

    row: Row
    image: npt.NDArray[np.uint8]
    question: list[str]
    answers: list[Row]
    colors: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class _Gallery:
    """The samples, and how large their parts are.

    Attributes:
        cards: one per sample.
        lines: the lines beside each.
        aspect: the smallest ratio of width to height among the images.
        copies: how often an image is shown: twice where boxes or masks are drawn on the second one.
    """

    cards: list[_Card]
    lines: list[list[AnswerLine]]
    aspect: float
    copies: int

    @property
    def wide(self) -> bool:
        """Whether the answers stand below the images."""
        return self.aspect > _WIDE_ASPECT

    @property
    def listed(self) -> float:
        """The height in inches of the lines."""
        return _LINE * (max(map(len, self.lines)) + 0.5)

    @property
    def below(self) -> float:
        """The height in inches of what stands below a question."""
        if self.wide:
            return self.copies * 0.5 * WIDTH / self.aspect + self.listed
        return max(self.copies * (0.5 * WIDTH * _IMAGE_SHARE / self.aspect + 0.05), self.listed)

    @property
    def rows(self) -> int:
        """The number of rows of samples."""
        return -(-len(self.cards) // _COLUMNS)


def gallery_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without a sample on which arms disagree."""
    if data.results.pictures.empty:
        return None
    gallery = _gallery(data)
    longest = max(len(card.question) for card in gallery.cards)
    return WIDTH, gallery.rows * (0.3 + 0.18 * longest + gallery.below)


def draw_gallery(data: FigureData, figure: Figure) -> None:
    """Draw two samples per row: the question on top, then the image and the answers.

    Boxes and masks are drawn on a second copy of the image, so that the first one shows the thing itself: the truth,
    and the predictions of arms that are wrong.
    """
    gallery = _gallery(data)
    parts = figure.subfigures(gallery.rows, _COLUMNS, squeeze=False, wspace=0.04).reshape(-1)
    step = _LINE / (gallery.listed if gallery.wide else gallery.below)
    for part, card, lines in zip(parts, gallery.cards, gallery.lines, strict=False):
        part.suptitle("\n".join(card.question), x=0.01, ha="left", fontsize=9.5)
        panels = _panels(part, gallery)
        panels["whole"].imshow(card.image, interpolation="antialiased")
        if "near" in panels:
            _draw_predictions(data, panels["near"], card)
        for name, axes in panels.items():
            axes.set_axis_off()
            axes.set_anchor("NW" if name != "listed" else "C")
        _write_lines(panels["listed"], lines, step, wide=gallery.wide)


def _panels(part: SubFigure, gallery: _Gallery) -> dict[str, Axes]:
    """Return the axes of the image (``whole``), of its copy with boxes or masks (``near``), and of the answers."""
    shown = ["whole", "near"][: gallery.copies]
    if gallery.wide:
        heights = [0.5 * WIDTH / gallery.aspect] * len(shown) + [gallery.listed]
        return dict(part.subplot_mosaic([[name] for name in [*shown, "listed"]], height_ratios=heights))
    ratios = [_IMAGE_SHARE, 1 - _IMAGE_SHARE]
    return dict(part.subplot_mosaic([[name, "listed"] for name in shown], width_ratios=ratios))


def _draw_predictions(data: FigureData, axes: Axes, card: _Card) -> None:
    axes.imshow(card.image, interpolation="antialiased")
    predictions = [
        (card.colors[answer["arm"]], answer["answer"])
        for answer in card.answers
        if answer["arm"] in card.colors
    ]
    shape = (card.image.shape[0], card.image.shape[1])
    inches = 0.5 * WIDTH * _IMAGE_SHARE
    try:
        if data.results.shows == "mask":
            draw_masks(axes, card.row, shape, predictions)
            return
        left, right, bottom, top = near_boxes(card.row, shape, [text for _, text in predictions])
        axes.set(xlim=(left, right), ylim=(bottom, top))
        draw_boxes(axes, card.row, shape, predictions, (right - left) / (72 * inches))
    except (ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise DataError(
            f"the truth or a prediction of sample {card.row['sample']} cannot be drawn: {error}"
        ) from error


def _gallery(data: FigureData) -> _Gallery:
    cards = [_card(data, row) for row in records(data.results.pictures)]
    aspect = min(float(card.image.shape[1] / card.image.shape[0]) for card in cards)
    lines = [
        sample_lines(data, card.row["truth"], card.answers, card.colors, wide=aspect > _WIDE_ASPECT)
        for card in cards
    ]
    return _Gallery(cards, lines, aspect, 1 if data.results.shows == "text" else 2)


def _card(data: FigureData, row: Row) -> _Card:
    answers = data.tables.answers
    own = answers[(answers["split"] == row["split"]) & (answers["sample"] == row["sample"])]
    by_arm = {answer["arm"]: answer for answer in records(own)}
    order = dict.fromkeys([*data.tables.order, *(arm.label for arm in data.results.arms)])
    shown = [by_arm[label] for label in order if label in by_arm]
    question = data.lettering.wrap(row["text"], _LETTERS, _QUESTION_LINES)
    return _Card(row, read_image(Path(row["image"])), question, shown, _colors(data, shown))


def _colors(data: FigureData, answers: Sequence[Row]) -> Mapping[str, str]:
    """Return the colour of each arm whose box or mask is drawn: the best arms among those that are wrong.

    A right one covers the true one. Those of controls are not drawn, because too many are not readable.
    """
    if data.results.shows == "text":
        return {}
    controls = {arm.label for arm in data.results.arms if arm.role == "control"}
    wrong = [row["arm"] for row in answers if not row["right"] and row["arm"] not in controls]
    return {arm: data.arm_styles[arm].color for arm in wrong[:_DRAWN]}


def _write_lines(axes: Axes, lines: Sequence[AnswerLine], step: float, *, wide: bool) -> None:
    """Write the lines from the top, each ``step`` of the height below the one before."""
    positions = (0.0, 0.05, 0.8, 0.95) if wide else (0.0, 0.1, 0.8, 1.0)
    for number, line in enumerate(lines):
        columns = (
            (line.sign, line.color, "left"),
            (line.name, line.name_color, "left"),
            (line.answer, line.color, "right"),
            (line.votes, SOFT, "right"),
        )
        for position, (text, color, side) in zip(positions, columns, strict=True):
            axes.text(
                position,
                1 - number * step,
                text,
                transform=axes.transAxes,
                va="top",
                ha=side,
                fontsize=8.5,
                color=color,
                fontweight="bold" if line.bold else "normal",
            )
