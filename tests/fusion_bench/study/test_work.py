"""Pilots share the cells of a study: each is trained once, whoever takes it, and none is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from pathlib import Path

import pytest

import toys
from fusion_bench.cells.events import CellProgressed, WorkerEvent
from fusion_bench.cells.executors.executor import Wanted, WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.time_limit import TimeLimit
from fusion_bench.cells.folder import cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.plan import confirm_cells, write_configs
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.study.work import Pilot
from fusion_bench.training.paths import RunPaths
from held_cells import fail_cell
from toys import STUDY, study_file


class AskedExecutor(InlineExecutor):
    """Trains in this process the cells that are wanted when their turn comes."""

    def __init__(self, paths: RunPaths, wanted: Wanted) -> None:
        super().__init__(WorkerSettings(paths, workers=1, threads=1))
        self._wanted = wanted
        self.trained: list[str] = []

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        for cell in cells:
            if self._wanted(cell):
                for event in super().run([cell]):  # another process may have taken it meanwhile
                    if isinstance(event, CellProgressed) and event.epoch == 1:
                        self.trained.append(cell)
                    yield event


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return read_study(study_file(tmp_path), ())


def work(study: Study, runs: Path, limit: TimeLimit | None = None) -> tuple[int, list[str]]:
    """Let one pilot work; return what it says, and the cells that it trained."""
    paths = RunPaths(runs, {}, {})
    made: list[AskedExecutor] = []

    def executor(wanted: Wanted, over: Callable[[], bool]) -> AskedExecutor:
        del over  # `wanted` says no as well
        made.append(AskedExecutor(paths, wanted))
        return made[0]

    trained = Pilot(study, paths, executor, SilentObserver(), limit or TimeLimit()).work()
    return trained, made[0].trained


def test_what_is_done_or_failed_is_left_alone(study: Study, tmp_path: Path) -> None:
    cells = confirm_cells(study.arms, study.seeds)
    write_configs(cells, tmp_path / "runs")
    fail_cell(cell_folder(tmp_path / "runs", cells[1].id), "no luck")
    assert work(study, tmp_path / "runs") == (3, [cells[number].id for number in (0, 2, 3)])
    assert work(study, tmp_path / "runs") == (0, [])


def test_no_cell_begins_that_would_not_end_in_time(study: Study, tmp_path: Path) -> None:
    runs, cells = tmp_path / "runs", confirm_cells(study.arms, study.seeds)
    assert work(study, runs, TimeLimit.of_minutes(0)) == (0, [])
    first = read_study(study.path, ("seeds=[0]",))
    assert work(first, runs) == (2, [cells[0].id, cells[1].id])
    folder = cell_folder(runs, cells[0].id)
    timing = (folder.path / "timing.json").read_text()
    (folder.path / "timing.json").write_text(timing.replace('_seconds": ', '_seconds": 1000'))
    # The other arm's cells took less than a second.
    assert work(study, runs, TimeLimit.of_minutes(2)) == (1, [cells[3].id])


def test_a_study_with_a_search_is_refused(tmp_path: Path) -> None:
    searched = "search={trials: 3, batch: 2, space: {gain: {low: 0.1, high: 4.0}}}"
    study = read_study(study_file(tmp_path), (searched, "seeds=[0]"))
    with pytest.raises(FusionBenchError, match="train it with fusion-bench run"):
        work(study, tmp_path / "runs")


class Overtaken(InlineExecutor):
    """Prepares so slowly that another process trains all cells meanwhile."""

    def prepare(self, cells: Sequence[str], upcoming: Sequence[str] = ()) -> Iterator[WorkerEvent]:
        yield from super().prepare(cells)
        list(super().run(upcoming))


def test_what_another_process_finishes_while_a_run_prepares_is_kept(study: Study, tmp_path: Path) -> None:
    runs, cells = tmp_path / "runs", confirm_cells(study.arms, study.seeds)
    paths = RunPaths(runs, {}, {})
    write_configs(cells, runs)
    fail_cell(cell_folder(runs, cells[0].id), "no luck")
    settings, options = WorkerSettings(paths, workers=1, threads=1), RunOptions(retry_failed=True)
    StudyRun(study, paths, lambda: Overtaken(settings), SilentObserver(), options).run()
    assert not list((runs / "cells").glob("*/replaced"))
    assert all(cell_folder(runs, cell.id).done for cell in cells)


PILOT = """
import sys
from fusion_bench.cli.main import main
main(["work", sys.argv[1], "--runs", sys.argv[2], "--workers", "1"])
"""


def pilot(study: Study, runs: Path) -> subprocess.Popen[str]:
    """Start ``fusion-bench work`` as the leader of a process group."""
    path = os.pathsep.join([str(Path(toys.__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", PILOT, str(study.path), str(runs)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_pilot_that_is_killed_loses_nothing_and_others_train_the_rest(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    # Modules of this project: cells of others have a process each, which takes long to start.
    own = {"toys:MeanText": "gru", '"toys:Product"': "film", "gain: 0.5": "coordinates: false", "[0, 1]": "4"}
    text = reduce(lambda text, change: text.replace(*change), own.items(), STUDY)
    study = read_study(study_file(tmp_path, text))
    cells = confirm_cells(study.arms, study.seeds)
    pilots = [pilot(study, runs) for _ in range(2)]
    while sum(cell_folder(runs, cell.id).done for cell in cells) < 2:
        time.sleep(0.05)
    os.killpg(pilots[0].pid, signal.SIGKILL)
    _, trained = work(study, runs)  # a third pilot: this process
    said = [process.communicate(timeout=300)[0] for process in pilots]
    assert [process.returncode for process in pilots] == [-signal.SIGKILL, 0]
    assert all(cell_folder(runs, cell.id).done for cell in cells)
    assert said[1].splitlines()[-1] == "8 of 8 cells done"
    begun = [line.partition(" epoch 1/2")[0] for line in said[1].splitlines() if " epoch 1/2" in line]
    here = [f"{cell.arm} seed {cell.seed}" for cell in cells if cell.id in trained]
    assert len(begun) + len(here) == len({*begun, *here})  # no cell was trained by both
    undisturbed = tmp_path / "undisturbed"
    assert work(study, undisturbed)[0] == 8
    for cell in cells:
        results = [cell_folder(folder, cell.id).path / "result.json" for folder in (runs, undisturbed)]
        assert results[0].read_bytes() == results[1].read_bytes()
