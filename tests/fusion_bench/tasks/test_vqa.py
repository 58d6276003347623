"""The VQA task: soft targets, their loss, and the evaluation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fusion_bench.errors import DataError
from fusion_bench.registries import TASKS
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.split import Split
from fusion_bench.tasks.vqa import SoftTargets, Vqa
from toys import ColourData

LISTED = ("2", "blue", "red", "yes")
RESIZING = Resizing(4, 4)


def split_of(
    answers: list[list[str]], types: list[str] | None = None, listed: tuple[str, ...] | None = LISTED
) -> Split:
    table = pd.DataFrame(
        {
            "sample": [f"s{number}" for number in range(len(answers))],
            "cluster": "c",
            "image": 0,
            "text": "what",
            "truth": [max(ten, key=ten.count) for ten in answers],
            "answers": pd.Series([tuple(ten) for ten in answers], dtype=object),
            "question_type": types or "what",
        }
    )
    return Split("any", table, (), ("question_type",), answers=listed)


MIXED = [
    ["two"] * 2 + ["2"] + ["red"] * 5 + ["grey"] * 2,
    ["grey"] * 10,
    ["yes"] * 10,
]


def test_targets_are_dense_only_for_the_samples_that_are_asked_for() -> None:
    targets = Vqa(split_of(MIXED), RESIZING).targets(split_of(MIXED))
    assert isinstance(targets, SoftTargets)
    assert targets.indices.shape == targets.scores.shape == (3, 10)
    expected = [[0.9, 0.0, 1.0, 0.0], [0.0] * 4, [0.0, 0.0, 0.0, 1.0]]
    for chosen in ([0, 1, 2], [2], [1, 0, 0]):
        dense = targets.rows(torch.tensor(chosen))
        assert torch.allclose(dense, torch.tensor([expected[row] for row in chosen]))


def test_a_list_that_is_not_normalised_matches_normalised_answers() -> None:
    targets = SoftTargets.of([["two"] * 3 + ["red"] * 7], ["Two", "RED."])
    assert torch.allclose(targets.rows(torch.tensor([0])), torch.tensor([[0.9, 1.0]]))


def test_the_loss_is_summed_over_answers_and_averaged_over_the_batch() -> None:
    task = Vqa(split_of(MIXED), RESIZING)
    logits = torch.tensor([[0.3, -1.2, 2.0, 0.0], [0.5, 0.5, -3.0, 1.0]], dtype=torch.float64)
    target = torch.tensor([[0.9, 0.0, 1.0, 0.0], [0.0, 0.3, 0.0, 0.6]])
    total = 0.0
    for row, wanted in zip(logits.tolist(), target.tolist(), strict=True):
        for logit, score in zip(row, wanted, strict=True):
            probability = 1 / (1 + math.exp(-logit))
            total -= score * math.log(probability) + (1 - score) * math.log(1 - probability)
    assert float(task.loss(logits, target)) == pytest.approx(total / 2, rel=1e-6)
    assert torch.allclose(
        task.probabilities(logits)[0, :2].double(),
        torch.tensor([0.574443, 0.231475], dtype=torch.float64),
        atol=1e-6,
    )


def test_samples_are_evaluated_by_the_official_accuracy() -> None:
    part = split_of([*MIXED, ["Red"] * 10])
    logits = torch.zeros(4, 4)
    for row, answer in enumerate((0, 0, 3, 2)):
        logits[row, answer] = 1
    rows = Vqa(split_of(MIXED), RESIZING).score_rows(part, logits)
    assert rows["prediction"].tolist() == ["2", "2", "yes", "red"]
    # "red" beside ten times "Red" is wrong: nothing is normalised there.
    assert rows["score"].tolist() == [0.9, 0, 1, 0]
    assert list(rows.columns) == [
        "split",
        "sample",
        "cluster",
        "question_type",
        "truth",
        "prediction",
        "score",
    ]
    assert Vqa.metrics["accuracy"].compute(rows) == pytest.approx(0.475)


def test_the_share_of_answers_outside_the_list_is_reported() -> None:
    # By hand: of the three most common answers only "grey" is not listed; the best listed ones score 1, 0 and 1.
    assert Vqa.remarks(split_of(MIXED), split_of(MIXED)) == (
        "For 33.3 % of the questions of any the most common answer is not among them and counts as wrong; the best "
        "listed answer to every question would score 66.7 %."
    )


def test_the_floor_is_the_most_common_answer_of_each_question_type() -> None:
    train = split_of(
        [["red"] * 10, ["blue"] * 10, ["red"] * 10, ["yes"] * 10],
        ["what color", "what color", "what color", "is"],
    )
    other = split_of(
        [["red"] * 3 + ["blue"] * 7, ["no"] * 10, ["red"] * 10], ["what color", "is", "how many"]
    )
    floor = Vqa.floor(ColourData(Path()), train, other)
    assert floor.accuracy == pytest.approx(np.mean([0.9, 0.0, 1.0]))


def test_a_training_split_without_a_list_is_refused() -> None:
    with pytest.raises(DataError, match="'any' has no list of answers"):
        Vqa(split_of(MIXED, listed=None), RESIZING)


def test_it_is_registered() -> None:
    assert TASKS.load("vqa") is Vqa
