"""VQA's accuracy by ten answers, and the soft scores that a model learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fusion_bench.errors import DataError
from fusion_bench.samples.vqa_answers import ANNOTATORS, normalise_answer, tidy


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """How right an answer is, by the official rules of VQA v2 (see `fusion_bench.samples.vqa_answers`).

    Each annotator in turn is left out, and the answer is worth min(1, matches among the other nine / 3); the mean
    of the ten is 0, 0.3, 0.6, 0.9 or 1 for 0, 1, 2, 3 and more matching annotators. Texts are normalised only
    if the ten answers are not all the same, so "Yes" is wrong beside ten times "yes". Nothing is rounded here:
    the official table rounds the mean over questions, in per cent, to two decimals.

    Args:
        prediction: what a model said.
        answers: what the ten annotators said, as published.

    Returns:
        0, 0.3, 0.6, 0.9 or 1.

    Raises:
        DataError: there are not ten answers.
    """
    _demand_ten(answers)
    said, given = tidy(prediction), [tidy(answer) for answer in answers]
    if len(set(given)) > 1:
        said, given = normalise_answer(said), [normalise_answer(answer) for answer in given]
    return _worth(given.count(said))


def soft_scores(answers: Sequence[str]) -> dict[str, float]:
    """What each answer of ten annotators, normalised, is worth as a training target: 0.3, 0.6, 0.9 or 1.

    Raises:
        DataError: there are not ten answers.
    """
    _demand_ten(answers)
    return {answer: _worth(count) for answer, count in Counter(map(normalise_answer, answers)).items()}


def _worth(matches: int) -> float:
    return min(ANNOTATORS, 3 * matches) / ANNOTATORS


def _demand_ten(answers: Sequence[str]) -> None:
    if len(answers) != ANNOTATORS:
        raise DataError(f"VQA's accuracy compares with {ANNOTATORS} answers, and there are {len(answers)}")
