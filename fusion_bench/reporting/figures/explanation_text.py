"""The texts of the figure of one explained sentence: the lines beside the image and the caption."""

from __future__ import annotations

import math
import textwrap

from fusion_bench.explain.explain import ExplainedCell
from fusion_bench.explain.kernel_selection import MapPosition, strongest_group
from fusion_bench.reporting.figures.style import INK, RIGHT, SOFT, WRONG
from fusion_bench.samples.vocabulary import tokenize

_CAPTION_LETTERS = 148
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def answer_lines(explained: ExplainedCell) -> list[tuple[str, str]]:
    """Return the lines beside the image, each with its colour: answer, truth, and the explained cell."""
    answer, truth = explained.answer, explained.explained_input.truth
    lines = []
    if answer is not None:
        color = INK if truth is None else RIGHT if answer.text == truth else WRONG
        lines.append((f"answer: {answer.text}  ({100 * answer.probability:.0f} %)", color))
    if truth is not None:
        lines.append((f"truth: {truth}", INK))
    copy = f", copy {explained.copy} of {explained.copies}" if explained.copies > 1 else ""
    lines.append((f"{explained.arm}, seed {explained.seed}{copy}", SOFT))
    return lines


def caption_lines(explained: ExplainedCell, shown: tuple[MapPosition, ...]) -> tuple[str, ...]:
    """Return the caption, wrapped into lines; ``shown`` are the positions whose kernels are drawn."""
    height, width = explained.attention.shape[1:]
    sentences = [
        f"Study {explained.study}, arm {explained.arm} ({explained.component}), cell {explained.cell}.",
        f"Blue: the attention of each of {height} x {width} positions to the word; in the title, its mean over "
        "positions.",
    ]
    if explained.kernels is not None:
        groups, taps = explained.kernels.shape[:2]
        size = math.isqrt(taps)
        which = f"group {strongest_group(explained.kernels) + 1} of {groups}, the one of largest norm"
        sentences.append(
            "Orange: norm of all kernels of a position; the scale starts at the smallest norm. "
            f"Kernels {size} x {size}: {which if groups > 1 else 'the only group'}; above each, the word with the "
            "largest attention of its position."
        )
        sentences.append(_selection_rule(len(shown)))
    if len(tokenize(explained.explained_input.text)) > len(explained.words):
        sentences.append(f"The study reads the first {len(explained.words)} words of a sentence.")
    if not all(explained.known):
        sentences.append("* not among the words of training: read as an unknown word.")
    if explained.stale_reason:
        sentences.append(f"The cell is stale: {explained.stale_reason}.")
    return tuple(textwrap.wrap(" ".join(sentences), _CAPTION_LETTERS))


def _selection_rule(positions: int) -> str:
    if positions == 1:
        return "A has the largest norm; no other position has kernels of its own."
    return (
        "A has the kernels of largest norm; each further letter is the position whose kernels are farthest from "
        "those before it."
    )


def shortened(word: str, letters: int) -> str:
    """Return ``word``, cut with an ellipsis if it has more than ``letters`` letters."""
    return word if len(word) <= letters else word[: letters - 1] + _ELLIPSIS
