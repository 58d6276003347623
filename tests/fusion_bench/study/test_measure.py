"""What arms cost: measured once, and only for arms that have been seen to run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from command_line import environment, train
from fusion_bench.cells import measure_cell
from fusion_bench.cells.events import CellMeasured, WorkerEvent
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.provenance import processor
from fusion_bench.lease import Lease
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.storage import read_json, write_json
from fusion_bench.study.measure import Measured, measure_arms, measure_for_report
from fusion_bench.training.paths import RunPaths
from toys import study_file

OVERRIDES = ("seeds=[0]", "arms.weaker={module: 'toys:Explodes'}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, RunPaths]:
    folder = tmp_path_factory.mktemp("measured")
    file = study_file(folder)
    train(file, folder / "runs", *OVERRIDES)
    return read_study(file, OVERRIDES), RunPaths(folder / "runs", {}, {})


def measured_here(study: Study, paths: RunPaths, file: Path) -> Mapping[str, Measured]:
    """Measure in this process what the file lacks."""
    executor = InlineExecutor(WorkerSettings(paths, workers=1, threads=1))
    return measure_arms(study.arms, study.seeds, paths, file, executor)


def _never(*_: object, **__: object) -> object:
    raise AssertionError("measured again")


def test_an_arm_is_measured_once(
    trained: tuple[Study, RunPaths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = trained
    file = tmp_path / "measured.json"
    first = measured_here(study, paths, file)
    assert first["product"].latency_ms > 0
    costs = cell_folder(paths.runs, study.arms[0].config.id).result().costs
    assert first["product"].costs == costs
    monkeypatch.setattr(measure_cell, "latency", _never)
    assert measured_here(study, paths, file) == first


def test_an_arm_that_never_ran_is_not_let_loose_on_this_process(
    trained: tuple[Study, RunPaths], tmp_path: Path
) -> None:
    study, paths = trained
    assert set(measured_here(study, paths, tmp_path / "measured.json")) == {"product"}


def _rewrite(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Return what changes each measurement in a file."""
    return lambda file: write_json(file, {key: change(value) for key, value in read_json(file).items()})


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_text("{"),
        Path.unlink,
        lambda file: file.write_text("[1, 2]"),
        lambda file: file.write_text('"text"'),
        _rewrite(lambda value: None),
        _rewrite(lambda value: [value]),
        _rewrite(lambda value: {**value, "latency_ms": "fast"}),
        _rewrite(lambda value: {**value, "costs": {}}),
    ],
)
def test_lost_measurements_are_made_again(
    trained: tuple[Study, RunPaths], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    study, paths = trained
    file = tmp_path / "measured.json"
    first = measured_here(study, paths, file)
    damage(file)
    again = measured_here(study, paths, file)
    assert again.keys() == {"product"}
    assert again["product"].costs == first["product"].costs
    assert len(read_json(file)) == 1


def test_a_report_does_not_fail_for_want_of_a_latency(
    trained: tuple[Study, RunPaths], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study, paths = trained
    bare = RunPaths(tmp_path / "runs", {}, {})
    shutil.copytree(paths.runs / "cells", bare.runs / "cells")
    (bare.runs / "cache").touch()  # nothing can be made here
    assert measured_here(study, bare, tmp_path / "measured.json") == {}
    assert "the latency of product cannot be measured" in caplog.text


def test_nothing_is_measured_while_a_run_of_the_study_is_going_on(
    trained: tuple[Study, RunPaths], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study, paths = trained
    with Lease(tmp_path):
        assert measure_for_report(study.arms, study.seeds, paths, tmp_path) == {}
        assert "a run of the study is going on" in caplog.text
        first = measured_here(study, paths, tmp_path / "measured.json")
        assert measure_for_report(study.arms, study.seeds, paths, tmp_path) == first


def test_a_run_may_begin_while_a_report_measures_and_ends_the_measuring(
    trained: tuple[Study, RunPaths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = trained

    def alone(executor: LocalExecutor, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        return InlineExecutor(executor._settings).measure(cells)

    def beside_a_run(executor: LocalExecutor, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        with Lease(tmp_path) as run:
            yield from alone(executor, cells)
            run.check()

    monkeypatch.setattr(LocalExecutor, "measure", beside_a_run)
    assert measure_for_report(study.arms, study.seeds, paths, tmp_path) == {}
    monkeypatch.setattr(LocalExecutor, "measure", alone)
    assert [*measure_for_report(study.arms, study.seeds, paths, tmp_path)] == ["product"]


@pytest.mark.slow
def test_a_report_measures_in_another_process(
    trained: tuple[Study, RunPaths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = trained
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setattr(measure_cell, "latency", _never)
    assert measure_for_report(study.arms, study.seeds, paths, tmp_path)["product"].latency_ms > 0


class Elsewhere(InlineExecutor):
    """Measures on a node of a cluster."""

    def measure(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        for event in super().measure(cells):
            yield replace(event, device="a node") if isinstance(event, CellMeasured) else event


def test_latencies_of_two_machines_are_never_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, paths = study_file(tmp_path), RunPaths(tmp_path / "runs", {}, {})
    train(file, paths.runs, "seeds=[0]")
    study, kept = read_study(file, ("seeds=[0]",)), tmp_path / "measured.json"
    nodes = Elsewhere(WorkerSettings(paths, workers=1, threads=1))
    here = InlineExecutor(WorkerSettings(paths, workers=1, threads=1))
    assert measure_arms(study.arms[:1], study.seeds, paths, kept, here)["product"].device == processor()
    found = measure_arms(study.arms, study.seeds, paths, kept, nodes)
    assert {measured.device for measured in found.values()} == {"a node"}
    assert set(found) == {"product", "weaker"}
    # A report is written on a machine that has trained nothing, and measures nothing again.
    monkeypatch.setattr(measure_cell, "latency", _never)
    assert measure_for_report(study.arms, study.seeds, paths, tmp_path) == found
