"""``official: true`` sets the published recipe, and a setting that contradicts it is a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench.errors import StudyFileError
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.training.config import TrainConfig
from toys import STUDY, study_file

PLAIN = STUDY.replace(", image_size: [32, 32]", "").replace("train: {", "official: true\ntrain: {")
PLAIN = PLAIN.replace("train: {epochs: 2, batch_size: 16, learning_rate: 0.01}\n", "")


def loaded(folder: Path, text: str, *overrides: str) -> Study:
    return read_study(study_file(folder, text), overrides)


def test_official_sets_the_published_recipe(tmp_path: Path) -> None:
    config = loaded(tmp_path, PLAIN).arms[0].config
    assert (config.data.image_size, config.data.longest_text) == ((416, 416), 15)
    assert (config.data.resize, config.data.normalise) == ("letterbox", "backbone")
    assert config.train == TrainConfig(
        epochs=40,
        batch_size=32,
        learning_rate=1e-4,
        weight_decay=0.0,
        warmup=0.075,
        clip=0.15,
        precision="float32",
        optimizer="adam",
        betas=(0.9, 0.98),
        eps=1e-9,
        warmup_from=1e-7,
        final_learning_rate=1e-6,
        ema=0.9997,
        one_expression_per_referent=True,
    )


def test_official_gives_the_same_cells_as_the_written_settings(tmp_path: Path) -> None:
    short = loaded(tmp_path, PLAIN)
    written = PLAIN.replace(
        "official: true\n",
        "train: {epochs: 40, batch_size: 32, learning_rate: 1e-4, weight_decay: 0, warmup: 0.075, clip: 0.15, "
        "precision: float32, optimizer: adam, betas: [0.9, 0.98], eps: 1e-9, warmup_from: 1e-7, "
        "final_learning_rate: 1e-6, ema: 0.9997, one_expression_per_referent: true}\n",
    ).replace(
        'data: {name: "toys:Squares"',
        'data: {name: "toys:Squares", image_size: [416, 416], longest_text: 15, resize: letterbox',
    )
    assert written != PLAIN
    long = loaded(tmp_path, written)
    assert [arm.config.id for arm in short.arms] == [arm.config.id for arm in long.arms]


def test_a_setting_may_repeat_the_recipe_and_may_not_contradict_it(tmp_path: Path) -> None:
    assert loaded(tmp_path, PLAIN, "train.epochs=40", "data.image_size=[416, 416]", "train.weight_decay=0")
    with pytest.raises(StudyFileError) as refused:
        loaded(tmp_path, PLAIN, "train.clip=1", "data.resize=stretch")
    first, second = str(refused.value).splitlines()
    assert (
        first
        == "--set data.resize: official: true means 'letterbox' here, not 'stretch'; leave it out, or drop official"
    )
    assert second.startswith("--set train.clip: official: true means 0.15 here, not 1; leave it out")


def test_the_recipe_can_be_switched_off_and_an_arm_may_differ(tmp_path: Path) -> None:
    plain = loaded(tmp_path, STUDY)
    off = loaded(tmp_path, STUDY, "official=false")
    assert [arm.config.id for arm in plain.arms] == [arm.config.id for arm in off.arms]
    text = PLAIN.replace("gain: 0.5}", "gain: 0.5, train: {learning_rate: 5e-4}}")
    one, other = loaded(tmp_path, text).arms
    assert (one.config.train.learning_rate, other.config.train.learning_rate) == (1e-4, 5e-4)
    assert other.config.train.ema == 0.9997
