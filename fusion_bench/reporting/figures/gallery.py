"""Samples on which the arms disagree: the picture, the question, and who answered or found what."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from fusion_bench.reporting.figures.overlays import draw_boxes, draw_masks
from fusion_bench.reporting.figures.style import RIGHT, SOFT, WIDTH, WRONG, FigureStyle
from fusion_bench.reporting.tables.tables import Row, records

_COLUMNS = 2
_LINE = 0.19
_LETTERS, _NAME_LETTERS, _LINE_LETTERS = 60, (8, 17), 21
"""Of a question's line; of an arm's name, fewest and most; of name and answer together, beside a picture."""
_WIDE = 2.2
"""Pictures at least so many times wider than high stand above the answers, others beside them."""
_OUTLINED = "white line"
_RIGHT_SIGN, _WRONG_SIGN, _ELLIPSIS = "\N{CHECK MARK}", "\N{BALLOT X}", "\N{HORIZONTAL ELLIPSIS}"


def gallery_size(subject: FigureStyle) -> tuple[float, float] | None:
    """Inches; None without a picture on which arms disagree."""
    pictures = _pictures(subject)
    if not pictures:
        return None
    longest = max(len(_asked(row).splitlines()) for row in records(subject.results.pictures))
    answers = _LINE * (subject.tables.answers["arm"].nunique() + 1)
    picture = 0.5 * WIDTH / _aspect(pictures) if _aspect(pictures) > _WIDE else 0.0
    return WIDTH, -(-len(pictures) // _COLUMNS) * (0.3 + 0.18 * longest + picture + max(1.2, answers))


def draw_gallery(subject: FigureStyle, figure: Figure) -> None:
    """Two samples a row: the question on top, then the picture and the answers."""
    pictures = _pictures(subject)
    cards = figure.subfigures(-(-len(pictures) // _COLUMNS), _COLUMNS, squeeze=False, wspace=0.04)
    wide = _aspect(pictures) > _WIDE
    answers = subject.tables.answers
    for card, row, picture in zip(
        cards.reshape(-1), records(subject.results.pictures), pictures, strict=False
    ):
        card.suptitle(_asked(row), x=0.01, ha="left", fontsize=9.5)
        shown, listed = _panels(card, wide, _aspect(pictures), answers["arm"].nunique())
        shown.imshow(picture, interpolation="antialiased")
        shown.set_anchor("NW")
        own = (answers["split"] == row["split"]) & (answers["sample"] == row["sample"])
        by_arm = {answer["arm"]: answer for answer in records(answers[own])}
        order = [arm.label for arm in subject.results.arms if arm.label in by_arm]
        given = [by_arm[label] for label in order]
        if subject.results.shows == "text":
            _draw_answers(listed, row["truth"], given, wide)
            continue
        # Controls are listed only: with boxes of them too, nothing could be told apart.
        inks = {
            arm.label: subject.looks[arm.label].color for arm in subject.results.arms if arm.role != "control"
        }
        finds = [(inks[answer["arm"]], answer["answer"]) for answer in given if answer["arm"] in inks]
        draw = draw_boxes if subject.results.shows == "box" else draw_masks
        draw(shown, row, picture.shape[:2], finds)
        _draw_answers(listed, _OUTLINED, given, wide, inks)


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
    axes: Axes, truth: str, answers: list[Row], wide: bool, inks: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Lines of text, spaced by the arms there are: sign, arm, answer, and how many seeds gave it.

    ``inks`` are colours of names, so that the lines are the legend of what is drawn on the picture.
    """
    step = 1 / (len(answers) + 1)
    lines = [("", "truth", truth, "", SOFT, "bold")]
    for row in answers:
        color, sign = (RIGHT, _RIGHT_SIGN) if row["right"] else (WRONG, _WRONG_SIGN)
        votes = f"{row['votes']} of {row['seeds']}" if row["seeds"] > 1 else ""
        lines.append((sign, row["arm"], row["said"], votes, color, "normal"))
    places = (0.0, 0.05, 0.8, 0.95) if wide else (0.0, 0.1, 0.8, 1.0)
    fewest, most = _NAME_LETTERS
    letters = max(fewest, min(most, _LINE_LETTERS - max(len(row["said"]) for row in answers)))
    for line, (sign, name, answer, votes, color, weight) in enumerate(lines):
        short = name if wide or len(name) <= letters else name[: letters - 1] + _ELLIPSIS
        columns = (
            (sign, color, "left"),
            (short, inks.get(name, SOFT), "left"),
            (answer, color, "right"),
            (votes, SOFT, "right"),
        )
        for place, (text, ink, side) in zip(places, columns, strict=True):
            axes.text(
                place,
                1 - line * step,
                text,
                transform=axes.transAxes,
                va="top",
                ha=side,
                fontsize=8.5,
                color=ink,
                fontweight=weight,
            )


def _pictures(subject: FigureStyle) -> list[npt.NDArray[np.uint8]]:
    """The shown pictures, each ``[H, W, 3]``."""
    found = []
    for path in subject.results.pictures["image"]:
        with Image.open(path) as image:
            found.append(np.asarray(image.convert("RGB")))
    return found


def _aspect(pictures: list[npt.NDArray[np.uint8]]) -> float:
    """Width over height of the squarest picture."""
    return min(float(picture.shape[1] / picture.shape[0]) for picture in pictures)


def _asked(row: Row) -> str:
    return textwrap.fill(" ".join(row["text"].split()), _LETTERS)
