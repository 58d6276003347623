"""Visual question answering where ten people answered: soft targets over a list, judged by VQA's accuracy."""

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
from fusion_bench.tasks.task import Targets, judged
from fusion_bench.tasks.vqa_accuracy import soft_scores, vqa_accuracy


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """Scores of at most ten answers a sample; a batch of them becomes dense, the whole split never is.

    Attributes:
        places: ``[N, 10]`` int32, places in the answer list; scores: ``[N, 10]`` float32, 0 where there is none.
        outputs: answers in the list.
    """

    places: Tensor
    scores: Tensor
    outputs: int

    @classmethod
    def of(cls, answers: Sequence[Sequence[str]], listed: Sequence[str]) -> SoftTargets:
        """Those of samples to whose questions ten people each gave ``answers``, as published."""
        place_of = {normalise_answer(answer): place for place, answer in enumerate(listed)}
        places = np.zeros((len(answers), ANNOTATORS), dtype=np.int32)
        scores = np.zeros((len(answers), ANNOTATORS), dtype=np.float32)
        for row, ten in enumerate(answers):
            for column, (answer, score) in enumerate(soft_scores(ten).items()):
                if answer in place_of:
                    places[row, column], scores[row, column] = place_of[answer], score
        return cls(torch.from_numpy(places), torch.from_numpy(scores), len(listed))

    def rows(self, chosen: Tensor) -> Tensor:
        """Dense scores ``[B, outputs]`` of the samples ``chosen``."""
        dense = torch.zeros(len(chosen), self.outputs)
        # Adding: columns without an answer point at place 0 with a score of 0.
        return dense.scatter_add_(1, self.places[chosen].long(), self.scores[chosen])


class Vqa(Answering):
    """Independent sigmoids over a list of answers, learnt from soft scores; VQA's official accuracy.

    The split's table has a column ``answers`` (the ten, as published) and a column ``question_type``; the
    training split brings the list (`Split.answers`).
    """

    name: ClassVar[str] = "vqa"
    metrics: ClassVar[Mapping[str, Metric]] = {"accuracy": Metric("accuracy", accuracy)}
    counted: ClassVar[str] = "answers may be given"

    def __init__(self, train: Split, resizing: Resizing, head: str = "") -> None:
        del resizing, head
        self.answers = _listed(train)
        self.outputs = len(self.answers)

    @classmethod
    def remarks(cls, train: Split, other: Split) -> str:
        """How much of a split lies outside the answer list."""
        listed = {normalise_answer(answer) for answer in _listed(train)}
        outside = float((~other.table["truth"].map(normalise_answer).isin(listed)).mean())
        reach = [
            max((score for answer, score in soft_scores(ten).items() if answer in listed), default=0.0)
            for ten in other.table["answers"]
        ]
        return (
            f"The commonest answer of {100 * outside:.1f} % of {other.name}'s questions is not among them and "
            f"counts as wrong; always giving the best of the list would score {100 * np.mean(reach):.1f} %."
        )

    @classmethod
    def floor(cls, data: DataSet, train: Split, other: Split) -> WordingFloor:
        """The commonest answer of each question type in ``train``; of all, where it lacks the type."""
        del data
        overall = _commonest(train.table["truth"])
        by_type = train.table.groupby("question_type")["truth"].agg(_commonest)
        said = other.table["question_type"].map(by_type).fillna(overall)
        scores = map(vqa_accuracy, said, other.table["answers"])
        return WordingFloor(
            "question type",
            float(np.mean(list(scores))),
            "the commonest answer of each question type, fitted on train",
        )

    def targets(self, split: Split) -> Targets:
        """Soft scores; answers outside the list are left out of them."""
        return SoftTargets.of(split.table["answers"].tolist(), self.answers)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Binary cross-entropy with the soft scores: the sum over answers, the mean over the batch.

        (Teney et al., "Tips and Tricks for Visual Question Answering", CVPR 2018, section 3; openvqa's MCAN sums
        over answers likewise.) A question none of whose answers is listed teaches that no listed one is right.
        """
        summed = F.binary_cross_entropy_with_logits(output.float(), target, reduction="sum")
        return summed / len(output)

    def probabilities(self, output: Tensor) -> Tensor:
        """Each answer's own ``[B, outputs]``; they do not add up to 1."""
        return output.float().sigmoid()

    def judge(self, part: Split, output: Tensor) -> pd.DataFrame:
        """Score by VQA's accuracy of the most probable answer."""
        rows = judged(part)
        rows["prediction"] = np.asarray(self.answers, dtype=object)[self.decide(output)]
        rows["score"] = list(map(vqa_accuracy, rows["prediction"], part.table["answers"]))
        return rows


def _listed(train: Split) -> tuple[str, ...]:
    if train.answers is None:
        raise DataError(f"the split {train.name!r} brings no list of answers, which the task 'vqa' needs")
    return train.answers


def _commonest(answers: pd.Series[str]) -> str:
    """Ties go to the first in alphabetical order."""
    return str(answers.mode().iloc[0])
