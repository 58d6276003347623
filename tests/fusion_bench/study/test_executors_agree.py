"""A study has the same results in this process, from workers and on Ray, in a shared folder or without one."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

import toys
from fusion_bench.cells.executors.executor import Executor, WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.executors.on_ray.cluster import Need, connected
from fusion_bench.cells.folder import cell_folder
from fusion_bench.spec.load import read_study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.training.paths import RunPaths
from toys import STUDY, study_file

OWN_ARMS = STUDY.partition("arms:")[0].replace('"toys:MeanText"', "gru, embedding: 8, hidden: 8") + (
    "arms: {film: {module: film}, concat: {module: concat}}\nseeds: [0, 1]\n"
)


CELL_FILES = ("config.json", "result.json", "samples.parquet", "curves.parquet", "DONE")


def results(folder: Path, make: Callable[[Path, Path], Executor]) -> dict[str, bytes]:
    """Run the study and return every deterministic byte of its cells, by path."""
    study = read_study(study_file(folder, OWN_ARMS), ())
    paths = RunPaths(folder / "runs", {}, {})
    run = StudyRun(
        study, paths, lambda: make(paths.runs, folder / "logs"), SilentObserver(), RunOptions()
    ).run()
    return {
        f"{cell.id}/{name}": (cell_folder(paths.runs, cell.id).path / name).read_bytes()
        for cell in run.cells
        for name in CELL_FILES
    }


def two_workers(runs: Path, logs: Path) -> Executor:
    return LocalExecutor(WorkerSettings(RunPaths(runs, {}, {}), 2, 1), logs)


def on_ray(*, shared: bool) -> Callable[[Path, Path], Executor]:
    def make(runs: Path, logs: Path) -> Executor:
        from fusion_bench.cells.executors.on_ray.executor import RayExecutor  # it imports ray

        class Apart(RayExecutor):
            def __enter__(self) -> Apart:
                super().__enter__()
                self._probe.unlink()
                return self

        settings = WorkerSettings(RunPaths(runs, {}, {}), 2, 1)
        kind = RayExecutor if shared else Apart
        return kind(settings, logs, Need(0.5, 0), str(runs.parent / "node"))

    return make


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The results of this process; workers find the toys."""
    path = os.pathsep.join([str(Path(toys.__file__).parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    found = results(
        tmp_path / "here", lambda runs, _: InlineExecutor(WorkerSettings(RunPaths(runs, {}, {}), 1, 1))
    )
    assert len(found) == 4 * len(CELL_FILES)
    return found


@pytest.mark.slow
def test_two_workers_give_the_results_of_this_process(tmp_path: Path, here: dict[str, bytes]) -> None:
    assert results(tmp_path / "there", two_workers) == here


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed")
def test_ray_gives_the_results_of_this_process(tmp_path: Path, here: dict[str, bytes]) -> None:
    with connected(None):
        assert results(tmp_path / "shared", on_ray(shared=True)) == here
        assert results(tmp_path / "apart", on_ray(shared=False)) == here
