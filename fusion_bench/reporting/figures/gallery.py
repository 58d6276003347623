"""The figure of samples on which the arms disagree: the image, the question, and the answer of each arm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from rich.cells import cell_len

from fusion_bench.data.decoding import read_image
from fusion_bench.errors import DataError
from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.lettering import cut
from fusion_bench.reporting.figures.overlays import draw_boxes, draw_masks
from fusion_bench.reporting.figures.style import RIGHT, SOFT, WIDTH, WRONG
from fusion_bench.reporting.tables.tables import Row, records

_COLUMNS = 2
_LINE = 0.19
_LETTERS = 60
"""Letters per line of a question."""
_NAME_LETTERS, _LINE_LETTERS = (5, 17), 21
_WIDE_NAME_LETTERS, _WIDE_LINE_LETTERS = (10, 32), 42
"""Smallest and largest number of letters for the name of an arm, and the number for name and answer together: beside
an image, and below a wide one."""
_WIDE_ASPECT = 2.2
"""Images whose width is more than this times their height are drawn above the answers, others beside them."""
_QUESTION_LINES = 5
_ANSWER_LETTERS, _WIDE_ANSWER_LETTERS = 14, 30
"""The largest number of letters of an answer beside an image, and below a wide one."""
_TRUTH_LEGEND = "white line"
_RIGHT_SIGN, _WRONG_SIGN = "\N{CHECK MARK}", "\N{BALLOT X}"


def gallery_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without a sample on which arms disagree."""
    images = _images(data)
    if not images:
        return None
    longest = max(len(_question(data, row)) for row in records(data.results.pictures))
    answers = _LINE * (data.tables.answers["arm"].nunique() + 1)
    image = 0.5 * WIDTH / _aspect(images) if _aspect(images) > _WIDE_ASPECT else 0.0
    return WIDTH, -(-len(images) // _COLUMNS) * (0.3 + 0.18 * longest + image + max(1.2, answers))


def draw_gallery(data: FigureData, figure: Figure) -> None:
    """Draw two samples per row: the question on top, then the image and the answers."""
    images = _images(data)
    cards = figure.subfigures(-(-len(images) // _COLUMNS), _COLUMNS, squeeze=False, wspace=0.04)
    wide = _aspect(images) > _WIDE_ASPECT
    answers = data.tables.answers
    for card, row, image in zip(cards.reshape(-1), records(data.results.pictures), images, strict=False):
        card.suptitle("\n".join(_question(data, row)), x=0.01, ha="left", fontsize=9.5)
        shown, listed = _panels(card, wide, _aspect(images), answers["arm"].nunique())
        shown.imshow(image, interpolation="antialiased")
        shown.set_anchor("NW")
        own = (answers["split"] == row["split"]) & (answers["sample"] == row["sample"])
        by_arm = {answer["arm"]: answer for answer in records(answers[own])}
        order = [arm.label for arm in data.results.arms if arm.label in by_arm]
        own_answers = [by_arm[label] for label in order]
        if data.results.shows == "text":
            _draw_answers(data, listed, row["truth"], own_answers, wide)
            continue
        # The boxes of controls are not drawn, because too many boxes are not readable; controls are only listed.
        colors = {
            arm.label: data.arm_styles[arm.label].color for arm in data.results.arms if arm.role != "control"
        }
        predictions = [
            (colors[answer["arm"]], answer["answer"]) for answer in own_answers if answer["arm"] in colors
        ]
        draw = draw_boxes if data.results.shows == "box" else draw_masks
        try:
            draw(shown, row, image.shape[:2], predictions)
        except (ValueError, TypeError, ArithmeticError, MemoryError) as error:
            raise DataError(
                f"the truth or a prediction of sample {row['sample']} cannot be drawn: {error}"
            ) from error
        _draw_answers(data, listed, _TRUTH_LEGEND, own_answers, wide, colors)


def _panels(card: SubFigure, wide: bool, aspect: float, arms: int) -> tuple[Axes, Axes]:
    if wide:
        heights = [0.5 * WIDTH / aspect, _LINE * (arms + 1)]
        shown, listed = card.subplots(2, 1, height_ratios=heights)
    else:
        shown, listed = card.subplots(1, 2, width_ratios=[1.1, 1])
    for axes in (shown, listed):
        axes.set_axis_off()
    return shown, listed


def _draw_answers(
    data: FigureData,
    axes: Axes,
    truth: str,
    answers: list[Row],
    wide: bool,
    colors: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write one line per arm: sign, name, answer, and the number of seeds that gave it.

    ``colors`` are the colours of the names, so that the lines are also the legend of the boxes or masks.
    """
    step = 1 / (len(answers) + 1)
    room = _WIDE_ANSWER_LETTERS if wide else _ANSWER_LETTERS
    shown = [data.lettering.fit(row["display"], room) for row in answers]
    lines = [("", "truth", data.lettering.fit(truth, room), "", SOFT, "bold")]
    name_colors = [SOFT]
    for row, answer in zip(answers, shown, strict=True):
        color, sign = (RIGHT, _RIGHT_SIGN) if row["right"] else (WRONG, _WRONG_SIGN)
        votes = f"{row['votes']} of {row['seeds']}" if row["seeds"] > 1 else ""
        lines.append((sign, data.labels[row["arm"]], answer, votes, color, "normal"))
        name_colors.append(colors.get(row["arm"], SOFT))
    positions = (0.0, 0.05, 0.8, 0.95) if wide else (0.0, 0.1, 0.8, 1.0)
    fewest, most = _WIDE_NAME_LETTERS if wide else _NAME_LETTERS
    line_letters = _WIDE_LINE_LETTERS if wide else _LINE_LETTERS
    letters = max(fewest, min(most, line_letters - max(map(cell_len, shown), default=0)))
    for line, (sign, name, answer, votes, color, weight) in enumerate(lines):
        columns = (
            (sign, color, "left"),
            (cut(name, letters), name_colors[line], "left"),
            (answer, color, "right"),
            (votes, SOFT, "right"),
        )
        for position, (text, text_color, side) in zip(positions, columns, strict=True):
            axes.text(
                position,
                1 - line * step,
                text,
                transform=axes.transAxes,
                va="top",
                ha=side,
                fontsize=8.5,
                color=text_color,
                fontweight=weight,
            )


def _images(data: FigureData) -> list[npt.NDArray[np.uint8]]:
    """Return the images of the shown samples, each ``[H, W, 3]``."""
    return [read_image(Path(path)) for path in data.results.pictures["image"]]


def _aspect(images: list[npt.NDArray[np.uint8]]) -> float:
    """Return the smallest ratio of width to height among the images."""
    return min(float(image.shape[1] / image.shape[0]) for image in images)


def _question(data: FigureData, row: Row) -> list[str]:
    return data.lettering.wrap(row["text"], _LETTERS, _QUESTION_LINES)
