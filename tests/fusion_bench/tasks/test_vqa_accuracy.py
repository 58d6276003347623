"""The official accuracy, against another derivation of it and on real annotations."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from fusion_bench.errors import DataError
from fusion_bench.samples.vqa_answers import normalise_answer
from fusion_bench.tasks.vqa_accuracy import soft_scores, vqa_accuracy


def left_one_out(prediction: str, annotations: list[dict[str, Any]]) -> Fraction:
    """Return the accuracy as in the paper: each annotator compared with the other nine, in exact fractions."""
    total = Fraction(0)
    for one in annotations:
        others = [other for other in annotations if other != one]
        assert len(others) == 9
        matches = sum(1 for other in others if other["answer"] == prediction)
        total += min(Fraction(1), Fraction(matches, 3))
    return total / 10


@pytest.mark.parametrize("matches", range(11))
def test_the_value_by_matches_is_leaving_one_out(matches: int) -> None:
    answers = ["cat"] * matches + ["dog"] * (10 - matches)
    annotations = [{"answer": text, "answer_id": number} for number, text in enumerate(answers, start=1)]
    assert vqa_accuracy("cat", answers) == pytest.approx(float(left_one_out("cat", annotations)), abs=1e-15)
    assert vqa_accuracy("cat", answers) == [0, 0.3, 0.6, 0.9, *[1] * 7][matches]


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("Yes", ["yes"] * 10, 0),  # ten equal answers: nothing is normalised
        ("yes", ["yes"] * 10, 1),
        ("2", ["two"] * 10, 0),
        ("two", ["two"] * 10, 1),
        ("\tyes\n", ["yes", "yes\n"] * 5, 1),  # white space is normalised before the comparison
        ("Yes", ["yes\n"] * 10, 0),
        ("Yes", ["yes"] * 9 + ["no"], 1),
        ("2", ["two"] * 2 + ["Two."] + ["3"] * 7, 0.9),  # both sides are normalised
        ("the dog", ["a dog"] + ["cat"] * 9, 0.3),
        ("yes", ["yes"] * 9 + ["Yes"], 1),
    ],
)
def test_texts_are_normalised_only_where_the_answers_differ(
    prediction: str, answers: list[str], expected: float
) -> None:
    assert vqa_accuracy(prediction, answers) == expected


def test_soft_scores_are_by_normalised_answer() -> None:
    answers = ["Two", "2", "two.", "three", "3", "none", "the cat", "cat", "Cat!", "a cat"]
    assert soft_scores(answers) == {"2": 0.9, "3": 0.6, "0": 0.3, "cat": 1.0}


@pytest.mark.parametrize("count", [0, 9, 11])
def test_another_number_of_answers_is_an_error(count: int) -> None:
    for call in (lambda: vqa_accuracy("yes", ["yes"] * count), lambda: soft_scores(["yes"] * count)):
        with pytest.raises(DataError, match=f"10 answers to a question, not {count}"):
            call()


@pytest.mark.pack
@pytest.mark.parametrize("subtype", ["train2014", "val2014"])
def test_real_annotations(packs: Path, subtype: str) -> None:
    file = packs / "vqa_v2_mini" / "Annotations" / f"first100_v2_mscoco_{subtype}_annotations.json"
    records = json.loads(file.read_text())["annotations"]
    assert len(records) == 100
    unanimous = 0
    for record in records:
        answers = [item["answer"] for item in record["answers"]]
        differ = len(set(answers)) > 1
        unanimous += not differ
        cleaned = [
            item | {"answer": normalise_answer(item["answer"])} if differ else item
            for item in record["answers"]
        ]
        soft = soft_scores(answers)
        for predicted in {*answers, record["multiple_choice_answer"], "no such answer"}:
            expected = left_one_out(normalise_answer(predicted) if differ else predicted, cleaned)
            assert vqa_accuracy(predicted, answers) == pytest.approx(float(expected), abs=1e-15)
            assert soft.get(normalise_answer(predicted), 0.0) == pytest.approx(float(expected), abs=1e-15)
    assert 0 < unanimous < 100
