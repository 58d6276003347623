"""The figure of samples on which the arms disagree: the image, the question, and the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from fusion_bench.data.decoding import read_image
from fusion_bench.errors import DataError
from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.gallery_lines import AnswerLine, answer_lines
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


def gallery_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without a sample on which arms disagree."""
    images = _images(data)
    if not images:
        return None
    longest = max(len(_question(data, row)) for row in records(data.results.pictures))
    return WIDTH, -(-len(images) // _COLUMNS) * (0.3 + 0.18 * longest + _below(data, images))


def draw_gallery(data: FigureData, figure: Figure) -> None:
    """Draw two samples per row: the question on top, then the image and the answers.

    Boxes and masks are drawn on a second copy of the image, so that the first one shows the thing itself: the truth,
    and the predictions of arms that are wrong.
    """
    images = _images(data)
    cards = figure.subfigures(-(-len(images) // _COLUMNS), _COLUMNS, squeeze=False, wspace=0.04)
    step = _LINE / (_LINE * (_most_lines(data, images) + 0.5) if _is_wide(images) else _below(data, images))
    for card, row, image in zip(cards.reshape(-1), records(data.results.pictures), images, strict=False):
        card.suptitle("\n".join(_question(data, row)), x=0.01, ha="left", fontsize=9.5)
        panels = _panels(data, card, images)
        panels["whole"].imshow(image, interpolation="antialiased")
        if "near" in panels:
            _draw_predictions(data, panels["near"], row, image)
        for name, axes in panels.items():
            axes.set_axis_off()
            axes.set_anchor("NW" if name != "listed" else "C")
        _write_lines(panels["listed"], _lines(data, row, images), step, wide=_is_wide(images))


def _panels(data: FigureData, card: SubFigure, images: Sequence[npt.NDArray[np.uint8]]) -> dict[str, Axes]:
    """Return the axes of the image (``whole``), of its copy with boxes or masks (``near``), and of the answers."""
    shown = ["whole"] if data.results.shows == "text" else ["whole", "near"]
    if _is_wide(images):
        heights = [0.5 * WIDTH / _aspect(images)] * len(shown) + [_LINE * (_most_lines(data, images) + 0.5)]
        return dict(card.subplot_mosaic([[name] for name in [*shown, "listed"]], height_ratios=heights))
    ratios = [_IMAGE_SHARE, 1 - _IMAGE_SHARE]
    return dict(card.subplot_mosaic([[name, "listed"] for name in shown], width_ratios=ratios))


def _draw_predictions(data: FigureData, axes: Axes, row: Row, image: npt.NDArray[np.uint8]) -> None:
    axes.imshow(image, interpolation="antialiased")
    colors = _colors(data, row)
    predictions = [
        (colors[answer["arm"]], answer["answer"]) for answer in _answers(data, row) if answer["arm"] in colors
    ]
    shape = (image.shape[0], image.shape[1])
    inches = 0.5 * WIDTH * _IMAGE_SHARE
    try:
        if data.results.shows == "mask":
            draw_masks(axes, row, shape, predictions)
            return
        left, right, bottom, top = near_boxes(row, shape, [text for _, text in predictions])
        axes.set(xlim=(left, right), ylim=(bottom, top))
        draw_boxes(axes, row, shape, predictions, (right - left) / (72 * inches))
    except (ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise DataError(
            f"the truth or a prediction of sample {row['sample']} cannot be drawn: {error}"
        ) from error


def _colors(data: FigureData, row: Row) -> Mapping[str, str]:
    """Return the colour of each arm whose box or mask is drawn: the best arms among those that are wrong.

    A right one covers the true one. Those of controls are not drawn, because too many are not readable.
    """
    if data.results.shows == "text":
        return {}
    controls = {arm.label for arm in data.results.arms if arm.role == "control"}
    wrong = [
        answer["arm"]
        for answer in _answers(data, row)
        if not answer["right"] and answer["arm"] not in controls
    ]
    return {arm: data.arm_styles[arm].color for arm in wrong[:_DRAWN]}


def _answers(data: FigureData, row: Row) -> list[Row]:
    """Return the answers to a sample, the best arm first."""
    answers = data.tables.answers
    own = answers[(answers["split"] == row["split"]) & (answers["sample"] == row["sample"])]
    by_arm = {answer["arm"]: answer for answer in records(own)}
    order = dict.fromkeys([*data.tables.order, *(arm.label for arm in data.results.arms)])
    return [by_arm[label] for label in order if label in by_arm]


def _lines(data: FigureData, row: Row, images: Sequence[npt.NDArray[np.uint8]]) -> list[AnswerLine]:
    return answer_lines(data, row["truth"], _answers(data, row), _colors(data, row), wide=_is_wide(images))


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


def _below(data: FigureData, images: Sequence[npt.NDArray[np.uint8]]) -> float:
    """Return the height in inches of what stands below a question."""
    answers = _LINE * (_most_lines(data, images) + 0.5)
    copies = 1 if data.results.shows == "text" else 2
    if _is_wide(images):
        return copies * 0.5 * WIDTH / _aspect(images) + answers
    return max(copies * (0.5 * WIDTH * _IMAGE_SHARE / _aspect(images) + 0.05), answers)


def _most_lines(data: FigureData, images: Sequence[npt.NDArray[np.uint8]]) -> int:
    return max(len(_lines(data, row, images)) for row in records(data.results.pictures))


def _images(data: FigureData) -> list[npt.NDArray[np.uint8]]:
    """Return the images of the shown samples, each ``[H, W, 3]``."""
    return [read_image(Path(path)) for path in data.results.pictures["image"]]


def _aspect(images: Sequence[npt.NDArray[np.uint8]]) -> float:
    """Return the smallest ratio of width to height among the images."""
    return min(float(image.shape[1] / image.shape[0]) for image in images)


def _is_wide(images: Sequence[npt.NDArray[np.uint8]]) -> bool:
    return _aspect(images) > _WIDE_ASPECT


def _question(data: FigureData, row: Row) -> list[str]:
    return data.lettering.wrap(row["text"], _LETTERS, _QUESTION_LINES)
