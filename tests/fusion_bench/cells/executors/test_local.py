"""Worker processes: a cell that somebody else trains is waited for; nobody is left behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import toys
from fusion_bench.cells.events import CellFinished, CellPrepared, CellStarted, WorkerEvent
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.spec.load import read_study
from fusion_bench.study.plan import confirm_cells, write_configs
from fusion_bench.training.paths import RunPaths
from toys import study_file

PRODUCT = ("seeds=[0]", "arms.weaker=null")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerSettings:
    monkeypatch.setenv("PYTHONPATH", str(Path(toys.__file__).parent))
    return WorkerSettings(RunPaths(tmp_path / "runs", {}, {}), workers=2, threads=1)


@pytest.mark.slow
def test_a_cell_that_another_study_trains_is_waited_for(tmp_path: Path, settings: WorkerSettings) -> None:
    study = read_study(study_file(tmp_path), PRODUCT)
    (cell,) = confirm_cells(study.arms, study.seeds)
    write_configs([cell], settings.paths.runs)
    folder = cell_folder(settings.paths.runs, cell.id)
    held, asked_for = threading.Event(), threading.Event()

    def another_study() -> None:
        with folder.claim():  # which belongs to the thread that takes it
            held.set()
            asked_for.wait(60)
            time.sleep(1)

    threading.Thread(target=another_study).start()
    held.wait(60)
    seen: list[type[WorkerEvent]] = []
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        for event in executor.run([cell.id]):
            seen.append(type(event))
            asked_for.set()
        processes = [process.popen for process in executor._processes]
    assert seen[0] is CellStarted
    assert seen[-1] is CellFinished
    assert seen.count(CellStarted) >= 2  # asked again, once the other was gone
    assert all(process.poll() is not None for process in processes)


@pytest.mark.slow
def test_workers_live_on_between_calls_and_stop_when_left(tmp_path: Path, settings: WorkerSettings) -> None:
    study = read_study(study_file(tmp_path), ("seeds=[0, 1]", "arms.weaker=null"))
    cells = confirm_cells(study.arms, study.seeds)
    write_configs(cells, settings.paths.runs)
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        assert [*executor.prepare([cells[0].id])] == [CellPrepared(cells[0].id)]
        (first,) = executor._processes
        ended = [event.cell for event in executor.run([cells[0].id]) if isinstance(event, CellFinished)]
        ended += [event.cell for event in executor.run([cells[1].id]) if isinstance(event, CellFinished)]
        assert executor._processes == [first]
    assert ended == [cell.id for cell in cells]
    assert first.popen.returncode is not None


def test_threads_are_fixed_before_torch_is_imported(settings: WorkerSettings) -> None:
    environment = settings.environment()
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("1", "1")
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
