"""The key ``train.checkpoint`` of a study file: what it takes, and that it makes no arm another one."""

from __future__ import annotations

import re

import pytest

from fusion_bench.errors import StudyFileError
from fusion_bench.training.config import CheckpointConfig
from study_fakes import GOOD, Load

HEAD = GOOD.partition("arms:")[0] + "controls: false\n"


def mistakes(load: Load, text: str) -> list[str]:
    with pytest.raises(StudyFileError) as caught:
        load(text)
    return [re.sub(r"^\S+/s\.yaml, ", "", line) for line in str(caught.value).splitlines()]


def test_checkpoints_are_asked_for_in_minutes(load: Load) -> None:
    without, asked = load(GOOD), load(GOOD, "train.checkpoint.minutes=10")
    assert [arm.config.train.checkpoint for arm in asked.arms] == [CheckpointConfig(10.0)] * 3
    assert [arm.config.id for arm in asked.arms] == [arm.config.id for arm in without.arms]
    assert load(GOOD, "train.checkpoint=null").arms[0].config.train.checkpoint is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{minutes: 0}", "train.checkpoint.minutes: must be greater than 0, not 0"),
        ("{minutes: soon}", "train.checkpoint.minutes: must be a number, not 'soon'"),
        ("{minute: 3}", "train.checkpoint.minute: unknown key (did you mean 'minutes'?)"),
        ("{}", "train.checkpoint.minutes: is missing"),
        ("10", "train.checkpoint: must be a mapping (key: value), not 10"),
    ],
)
def test_mistakes_in_checkpoints_are_named(load: Load, value: str, message: str) -> None:
    text = GOOD.replace("learning_rate: 1e-4}", f"checkpoint: {value}}}")
    assert f"line 12: {message}" in mistakes(load, text)


def test_checkpoints_are_no_factor_and_no_difference_between_arms(load: Load) -> None:
    study = load(
        HEAD + "arms: {a: {module: film}, b: {module: film, train: {epochs: 4, checkpoint: {minutes: 5}}}}"
    )
    assert [arm.config.train.checkpoint for arm in study.arms] == [None, CheckpointConfig(5.0)]
    assert study.arms[1].factors == {"train.epochs": 4}
    assert mistakes(
        load, HEAD + "arms: {a: {module: film}, b: {module: film, train: {checkpoint: {minutes: 5}}}}"
    ) == ["line 14: arms.b: 'b' is the same as the arm 'a'; change its settings, or leave one of them out"]


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("vary: {base: {module: film}, grid: {train.checkpoint: [{minutes: 1}]}}", "vary.grid"),
        ("arms: {a: {module: film}}\nsearch: {trials: 2, space: {train.checkpoint: [1, 2]}}", "search.space"),
        ("arms: {a: {module: film}}\ncontexts: {c: {train.checkpoint: {minutes: 1}}}", "contexts.c"),
    ],
)
def test_checkpoints_cannot_vary(load: Load, place: str, path: str) -> None:
    (line,) = mistakes(load, HEAD + place)
    assert line.endswith(
        f"{path}.train.checkpoint: changes no result, so it cannot vary; write it under train instead"
    )
