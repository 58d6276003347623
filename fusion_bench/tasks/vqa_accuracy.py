"""VQA's official accuracy of a prediction against ten answers, and the soft scores that serve as training targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fusion_bench.errors import DataError
from fusion_bench.samples.vqa_answers import ANNOTATORS, normalise_answer, normalise_whitespace


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Return the accuracy of one prediction by the official rules of VQA v2.

    Each annotator is left out in turn, and the prediction scores min(1, matches among the other nine / 3). The mean
    of the ten scores is 0, 0.3, 0.6, 0.9 or 1 for 0, 1, 2, 3 and at least 4 matching annotators. Texts are normalised
    (`fusion_bench.samples.vqa_answers`) only if the ten answers are not all equal, so "Yes" is wrong against ten
    times "yes". Nothing is rounded here; the official table rounds the mean over questions, in per cent, to two
    decimals.

    Source: Goyal et al., CVPR 2017, and the evaluation code published with it.

    Args:
        prediction: the answer of a model.
        answers: the published answers of the ten annotators.

    Returns:
        0, 0.3, 0.6, 0.9 or 1.

    Raises:
        DataError: the number of answers is not ten.
    """
    _require_ten_answers(answers)
    predicted, references = (
        normalise_whitespace(prediction),
        [normalise_whitespace(answer) for answer in answers],
    )
    if len(set(references)) > 1:
        predicted, references = (
            normalise_answer(predicted),
            [normalise_answer(answer) for answer in references],
        )
    return _score(references.count(predicted))


def soft_scores(answers: Sequence[str]) -> dict[str, float]:
    """Return the training target of each normalised answer of ten annotators: 0.3, 0.6, 0.9 or 1.

    Raises:
        DataError: the number of answers is not ten.
    """
    _require_ten_answers(answers)
    return {answer: _score(count) for answer, count in Counter(map(normalise_answer, answers)).items()}


def _score(matches: int) -> float:
    return min(ANNOTATORS, 3 * matches) / ANNOTATORS


def _require_ten_answers(answers: Sequence[str]) -> None:
    if len(answers) != ANNOTATORS:
        raise DataError(f"VQA's accuracy needs {ANNOTATORS} answers to a question, not {len(answers)}")
