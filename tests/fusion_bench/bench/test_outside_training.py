"""The time of a run outside the training of its cells."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fusion_bench.bench import outside_training
from fusion_bench.bench.outside_training import SMALL_NETWORKS, RunTime, measure_outside_training
from fusion_bench.spec.load import read_study


def test_workers_that_train_all_the_time_are_taken_off() -> None:
    assert RunTime(100.0, [30.0, 40.0, 50.0], workers=2).outside == 40.0
    assert RunTime(100.0, [], workers=3).outside == 100.0


def test_the_study_runs_with_small_networks_in_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: Sequence[str], failed: str, environment: Mapping[str, str]) -> str:
        asked.append(list(command))
        assert "some.yaml" in failed
        assert "MLFLOW_TRACKING_URI" not in environment
        assert environment["PATH"]
        for cell, seconds in (("a", 2.0), ("b", 4.0)):
            folder = Path(command[command.index("--runs") + 1]) / "cells" / cell
            folder.mkdir(parents=True)
            timing = {"train_seconds": seconds, "evaluation_seconds": 1.0}
            (folder / "timing.json").write_text(json.dumps(timing), encoding="utf-8")
        return ""

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere.example")
    monkeypatch.setattr(outside_training, "run_python", run)
    monkeypatch.setattr("time.perf_counter", iter([100.0, 130.0]).__next__)
    line = measure_outside_training(Path("some.yaml"))
    assert line.measured == 30.0 - (3.0 + 5.0) / 2
    (command,) = asked
    assert command[:4] == ["-m", "fusion_bench", "run", "some.yaml"]
    given = [value for option, value in itertools.pairwise(command) if option == "--set"]
    assert given == list(SMALL_NETWORKS)
    assert not Path(command[command.index("--runs") + 1]).exists()


def test_the_quickstart_accepts_the_small_networks() -> None:
    study = read_study(Path("studies/quickstart.yaml"), SMALL_NETWORKS)
    assert {arm.config.fusion.width for arm in study.arms} == {16}
    assert {arm.config.train.epochs for arm in study.arms} == {1}
