"""Samples on which the arms disagree: the picture, the question, and who answered what."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from fusion_bench.reporting.style import RIGHT, SOFT, WIDTH, WRONG, Subject
from fusion_bench.reporting.tables import Row, records

_COLUMNS = 2
_LINE = 0.19
_LETTERS = 60
_RIGHT_SIGN, _WRONG_SIGN = "\N{CHECK MARK}", "\N{BALLOT X}"


def gallery_size(subject: Subject) -> tuple[float, float] | None:
    """Inches; None without a picture on which arms disagree."""
    shown = len(subject.results.pictures)
    return (WIDTH, -(-shown // _COLUMNS) * _height(subject)) if shown else None


def draw_gallery(subject: Subject, figure: Figure) -> None:
    """Two samples a row: the question on top, below it the picture and beside that the answers."""
    pictures = records(subject.results.pictures)
    cards = figure.subfigures(-(-len(pictures) // _COLUMNS), _COLUMNS, squeeze=False, wspace=0.04)
    answers = subject.tables.answers
    for card, picture in zip(cards.reshape(-1), pictures, strict=False):
        asked = textwrap.fill(" ".join(picture["text"].split()), _LETTERS)
        card.suptitle(asked, x=0.01, ha="left", fontsize=9.5)
        left, right = card.subplots(1, 2, width_ratios=[1.1, 1])
        for axes in (left, right):
            axes.set_axis_off()
        with Image.open(picture["image"]) as image:
            left.imshow(np.asarray(image.convert("RGB")), interpolation="antialiased")
        left.set_anchor("NW")
        own = (answers["split"] == picture["split"]) & (answers["sample"] == picture["sample"])
        by_arm = {row["arm"]: row for row in records(answers[own])}
        order = [arm.label for arm in subject.results.arms if arm.label in by_arm]
        _draw_answers(right, picture["truth"], [by_arm[label] for label in order])


def _draw_answers(axes: Axes, truth: str, answers: list[Row]) -> None:
    """Lines of text, spaced by the arms there are: sign, arm, answer, and how many seeds gave it."""
    step = 1 / (len(answers) + 1)
    lines = [("", "truth", truth, "", SOFT, "bold")]
    for row in answers:
        color, sign = (RIGHT, _RIGHT_SIGN) if row["right"] else (WRONG, _WRONG_SIGN)
        votes = f"{row['votes']} of {row['seeds']}" if row["seeds"] > 1 else ""
        lines.append((sign, row["arm"], row["answer"], votes, color, "normal"))
    for place, (sign, name, answer, votes, color, weight) in enumerate(lines):
        columns = (
            (0.0, sign, color, "left"),
            (0.1, name, SOFT, "left"),
            (0.8, answer, color, "right"),
            (1.0, votes, SOFT, "right"),
        )
        for x, text, ink, side in columns:
            axes.text(
                x,
                1 - place * step,
                text,
                transform=axes.transAxes,
                va="top",
                ha=side,
                fontsize=8.5,
                color=ink,
                fontweight=weight,
            )


def _height(subject: Subject) -> float:
    return max(1.7, 0.55 + _LINE * (subject.tables.answers["arm"].nunique() + 1))
