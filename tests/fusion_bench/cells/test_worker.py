"""A worker tells the steps of a cell at a pace that anybody can follow, and gives its cell back when it must end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from fusion_bench.cells import worker
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.worker import Heartbeat, WorkerStopped
from fusion_bench.training.fit.step_done import StepDone
from interrupted_cells import restless_config, run_toy_cell


def test_a_step_is_told_every_ten_seconds() -> None:
    seconds: list[float] = [0.0]
    passed_on: list[StepDone] = []
    heartbeat = Heartbeat(passed_on.append, clock=lambda: seconds[0])
    for step in range(1, 41):
        seconds[0] += 1.0
        heartbeat(StepDone("training", step, 40))
    assert [done.step for done in passed_on] == [10, 20, 30, 40]


def test_a_worker_that_is_asked_to_end_gives_its_cell_back_and_the_cell_has_not_failed(
    tmp_path: Path,
) -> None:
    config = restless_config("adamw", minutes=None)
    before = signal.signal(signal.SIGTERM, worker._stop)
    try:
        with pytest.raises(WorkerStopped):
            run_toy_cell(tmp_path, config, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN  # a second one does not disturb
    finally:
        signal.signal(signal.SIGTERM, before)
    folder = cell_folder(tmp_path, config.id)
    (lease,) = folder.path.glob("lease.*")
    assert lease.stat().st_mtime == 0  # free at once for other hosts too
    assert not folder.failed.exists()
    assert not folder.done
    _, report = run_toy_cell(tmp_path, config)
    assert report.failure is None
