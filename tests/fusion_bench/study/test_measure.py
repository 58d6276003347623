"""What arms cost: measured once, and only for arms that have been seen to run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import train
from fusion_bench.cells.folder import cell_folder
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.storage import read_json
from fusion_bench.study import measure
from fusion_bench.study.measure import measure_arms
from fusion_bench.training.paths import RunPaths
from toys import study_file

OVERRIDES = ("seeds=[0]", "arms.weaker={module: 'toys:Explodes'}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, RunPaths]:
    folder = tmp_path_factory.mktemp("measured")
    file = study_file(folder)
    train(file, folder / "runs", *OVERRIDES)
    return read_study(file, OVERRIDES), RunPaths(folder / "runs", {}, {})


def _never(*_: object, **__: object) -> object:
    raise AssertionError("measured again")


def test_an_arm_is_measured_once(
    trained: tuple[Study, RunPaths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = trained
    file = tmp_path / "measured.json"
    first = measure_arms(study.arms, study.seeds, paths, file)
    assert first["product"].latency_ms > 0
    costs = cell_folder(paths.runs, study.arms[0].config.id).result().costs
    assert first["product"].costs == costs
    monkeypatch.setattr(measure, "latency", _never)
    assert measure_arms(study.arms, study.seeds, paths, file) == first


def test_an_arm_that_never_ran_is_not_let_loose_on_this_process(
    trained: tuple[Study, RunPaths], tmp_path: Path
) -> None:
    study, paths = trained
    assert set(measure_arms(study.arms, study.seeds, paths, tmp_path / "measured.json")) == {"product"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_text("{"),
        Path.unlink,
        lambda file: file.write_text("[]"),
        lambda file: file.write_text("null"),
        lambda file: file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), 3))),
        lambda file: file.write_text(file.read_text().replace("latency_ms", "latency")),
    ],
)
def test_lost_measurements_are_made_again(
    trained: tuple[Study, RunPaths], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    study, paths = trained
    file = tmp_path / "measured.json"
    measure_arms(study.arms, study.seeds, paths, file)
    damage(file)
    assert measure_arms(study.arms, study.seeds, paths, file).keys() == {"product"}
    assert len(read_json(file)) == 1


def test_a_report_does_not_fail_for_want_of_a_latency(
    trained: tuple[Study, RunPaths], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study, paths = trained
    bare = RunPaths(tmp_path / "runs", {}, {})
    shutil.copytree(paths.runs / "cells", bare.runs / "cells")
    (bare.runs / "cache").touch()  # nothing can be made here
    assert measure_arms(study.arms, study.seeds, bare, tmp_path / "measured.json") == {}
    assert "the latency of product cannot be measured" in caplog.text
