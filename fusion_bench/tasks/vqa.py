"""Visual question answering with ten answers per question: soft targets over a list of answers, VQA's accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import DataSet, WordingFloor
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.metric import Metric
from fusion_bench.samples.split import Split
from fusion_bench.samples.vqa_answers import ANNOTATORS, normalise_answer
from fusion_bench.tasks.answering import Answering, accuracy
from fusion_bench.tasks.task import Targets, base_rows
from fusion_bench.tasks.vqa_accuracy import soft_scores, vqa_accuracy


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """The scores of at most ten answers per sample, stored sparsely and converted to dense targets per batch.

    Attributes:
        indices: ``[N, 10]`` int32, positions in the answer list.
        scores: ``[N, 10]`` float32, the score of each of these answers; 0 for unused entries.
        outputs: number of answers in the list.
    """

    indices: Tensor
    scores: Tensor
    outputs: int

    @classmethod
    def of(cls, answers: Sequence[Sequence[str]], listed: Sequence[str]) -> SoftTargets:
        """Return the targets of ``N`` samples.

        Args:
            answers: the ten published answers of each sample.
            listed: the answer list.
        """
        index_of = {normalise_answer(answer): index for index, answer in enumerate(listed)}
        indices = np.zeros((len(answers), ANNOTATORS), dtype=np.int32)
        scores = np.zeros((len(answers), ANNOTATORS), dtype=np.float32)
        for row, ten in enumerate(answers):
            for column, (answer, score) in enumerate(soft_scores(ten).items()):
                if answer in index_of:
                    indices[row, column], scores[row, column] = index_of[answer], score
        return cls(torch.from_numpy(indices), torch.from_numpy(scores), len(listed))

    def rows(self, chosen: Tensor) -> Tensor:
        """Return dense scores ``[B, outputs]`` of the samples ``chosen`` ``[B]``."""
        dense = torch.zeros(len(chosen), self.outputs, device=chosen.device)
        # Scores are added, because unused entries have index 0 and score 0.
        return dense.scatter_add_(1, self.indices[chosen].long(), self.scores[chosen])

    def to(self, device: torch.device) -> SoftTargets:
        """Return the targets on ``device``."""
        return SoftTargets(self.indices.to(device), self.scores.to(device), self.outputs)


class Vqa(Answering):
    """Independent sigmoids over a list of answers, trained on soft scores; the metric is VQA's official accuracy.

    The table of a split has a column ``answers`` (the ten published answers) and a column ``question_type``. The
    training split provides the answer list (`Split.answers`).

    Raises:
        DataError: the training split has no answer list.
    """

    name: ClassVar[str] = "vqa"
    metrics: ClassVar[Mapping[str, Metric]] = {"accuracy": Metric("accuracy", accuracy)}
    outputs_label: ClassVar[str] = "answers may be given"

    def __init__(self, train: Split, resizing: Resizing, head: str = "") -> None:
        del resizing, head
        self.answers = _answer_list(train)
        self.outputs = len(self.answers)

    @classmethod
    def remarks(cls, train: Split, other: Split) -> str:
        """Return a sentence on the share of ``other`` that lies unlisted the answer list of ``train``."""
        listed = {normalise_answer(answer) for answer in _answer_list(train)}
        unlisted = float((~other.table["truth"].map(normalise_answer).isin(listed)).mean())
        reachable = [
            max((score for answer, score in soft_scores(ten).items() if answer in listed), default=0.0)
            for ten in other.table["answers"]
        ]
        return (
            f"For {100 * unlisted:.1f} % of the questions of {other.name} the most common answer is not among them "
            "and counts as wrong; the best listed answer to every question would score "
            f"{100 * np.mean(reachable):.1f} %."
        )

    @classmethod
    def floor(cls, data: DataSet, train: Split, other: Split) -> WordingFloor:
        """Return the scores of the most common answer of each question type in ``train``.

        A type that does not occur in ``train`` gets the most common answer of all questions.
        """
        del data
        overall = _most_common(train.table["truth"])
        by_type = train.table.groupby("question_type")["truth"].agg(_most_common)
        predicted = other.table["question_type"].map(by_type).fillna(overall)
        scores = map(vqa_accuracy, predicted, other.table["answers"])
        return WordingFloor(
            "question type",
            np.array(list(scores), dtype=np.float64),
            "the most common answer of each question type, fitted on train",
        )

    def targets(self, split: Split) -> Targets:
        """Return the soft scores of the listed answers; other answers are left out."""
        return SoftTargets.of(split.table["answers"].tolist(), self.answers)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the binary cross-entropy with the soft scores: summed over answers, averaged over the batch.

        Source: Teney et al., "Tips and Tricks for Visual Question Answering", CVPR 2018, section 3; openvqa's MCAN
        also sums over answers. If none of a question's answers is listed, all its targets are 0.

        Args:
            output: logits ``[B, outputs]``.
            target: soft scores ``[B, outputs]``.
        """
        summed = F.binary_cross_entropy_with_logits(output.float(), target, reduction="sum")
        return summed / len(output)

    def probabilities(self, output: Tensor) -> Tensor:
        """Return the sigmoid probability of each answer ``[B, outputs]``; the probabilities do not sum to 1."""
        return output.float().sigmoid()

    def score_rows(self, part: Split, output: Tensor) -> pd.DataFrame:
        """Return rows whose score is VQA's accuracy of the most probable answer."""
        rows = base_rows(part)
        rows["prediction"] = np.asarray(self.answers, dtype=object)[self.decide(output)]
        rows["score"] = list(map(vqa_accuracy, rows["prediction"], part.table["answers"]))
        return rows


def _answer_list(train: Split) -> tuple[str, ...]:
    if train.answers is None:
        raise DataError(f"the split {train.name!r} has no list of answers, which the task 'vqa' needs")
    return train.answers


def _most_common(answers: pd.Series[str]) -> str:
    """Return the most common answer; of equally common ones, the first in alphabetical order."""
    return str(answers.mode().iloc[0])
