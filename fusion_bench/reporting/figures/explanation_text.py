"""The texts of the figure of one explained sentence: the lines beside the image and the caption."""

from __future__ import annotations

import math

from fusion_bench.explain.explain import ExplainedCell
from fusion_bench.explain.kernel_selection import MapPosition, strongest_group
from fusion_bench.reporting.figures.lettering import Lettering, wrap
from fusion_bench.reporting.figures.style import INK, RIGHT, SOFT, WRONG
from fusion_bench.samples.vocabulary import tokenize

_CAPTION_LETTERS, _NAME_LETTERS, _ANSWER_LETTERS, _LABEL_LETTERS = 148, 60, 36, 28


def outside_texts(explained: ExplainedCell) -> list[str]:
    """Return every text that comes from a data set, a study or a module."""
    answer = "" if explained.answer is None else explained.answer.text
    given = explained.explained_input
    named = (explained.study, explained.arm, explained.component, explained.stale_reason)
    return [given.text, given.truth or "", answer, *explained.words, *named]


def answer_lines(explained: ExplainedCell, lettering: Lettering) -> list[tuple[str, str]]:
    """Return the lines beside the image, each with its colour: answer, truth, and the explained cell."""
    answer, truth = explained.answer, explained.explained_input.truth
    lines = []
    if answer is not None:
        color = INK if truth is None else RIGHT if answer.text == truth else WRONG
        shown = lettering.fit(answer.text, _ANSWER_LETTERS)
        lines.append((f"answer: {shown}  ({100 * answer.probability:.0f} %)", color))
    if truth is not None:
        lines.append((f"truth: {lettering.fit(truth, _ANSWER_LETTERS)}", INK))
    copy = f", copy {explained.copy} of {explained.copies}" if explained.copies > 1 else ""
    lines.append((f"{lettering.fit(explained.arm, _LABEL_LETTERS)}, seed {explained.seed}{copy}", SOFT))
    return lines


def caption_lines(
    explained: ExplainedCell, shown: tuple[MapPosition, ...], lettering: Lettering
) -> tuple[str, ...]:
    """Return the caption, wrapped into lines.

    Args:
        explained: the explanation.
        shown: the positions whose kernels are drawn.
        lettering: the fonts of the figure.
    """
    study, arm, component = (
        lettering.fit(text, _NAME_LETTERS) for text in (explained.study, explained.arm, explained.component)
    )
    stale = lettering.fit(explained.stale_reason, 2 * _CAPTION_LETTERS)
    height, width = explained.attention.shape[1:]
    sentences = [
        f"Study {study}, arm {arm} ({component}), cell {explained.cell}.",
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
    if stale:
        sentences.append(f"The cell is stale: {stale}.")
    if note := lettering.note(" ".join(map(lettering.plain, outside_texts(explained)))):
        sentences.append(note)
    return tuple(wrap(" ".join(sentences), _CAPTION_LETTERS))


def _selection_rule(positions: int) -> str:
    if positions == 1:
        return "A has the largest norm; no other position has kernels of its own."
    return (
        "A has the kernels of largest norm; each further letter is the position whose kernels are farthest from "
        "those before it."
    )
