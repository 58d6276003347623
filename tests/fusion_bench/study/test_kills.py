"""Workers and the coordinator are killed and stopped at any moment: each cell has one outcome, with the same bytes.

It is the short form of ``tools/kill_test.py``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from command_line import environment, train
from fusion_bench.cells.folder import CellFolder
from toys import STUDY, study_file

FOUND = TypeVar("FOUND")
KILLED = STUDY.replace('{encoder: "toys:MeanText"}', "{hidden: 8, embedding: 8}").replace(
    "epochs: 2", "epochs: 30"
)
OVERRIDES = ("arms={film: {module: film}}", "seeds=[0, 1, 2, 3, 4, 5]")
BYTES = ("result.json", "samples.parquet", "curves.parquet")
RUN = f"""
import sys
from pathlib import Path
from command_line import paths_of
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.spec.load import read_study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, StudyRun
file, runs, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
LocalExecutor.measure = lambda *_: iter(())  # it would start one more worker
study = read_study(file, {OVERRIDES!r})
settings = WorkerSettings(paths_of(study, runs), workers, 1)
StudyRun(study, settings.paths, lambda: LocalExecutor(settings, runs / "logs"), SilentObserver(), RunOptions()).run()
"""


@contextmanager
def coordinator(file: Path, runs: Path, workers: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", RUN, str(file), str(runs), str(workers)]
    process = subprocess.Popen(command, env=environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def training(runs: Path) -> dict[str, int]:
    """Return the process that trains each cell which is being trained, by the cell."""
    found = {}
    for lease in (runs / "cells").glob("*/lease.*"):
        with suppress(FileNotFoundError, ValueError):
            if lease.stat().st_mtime and not (lease.parent / "DONE").exists():
                found[lease.parent.name] = int(json.loads(lease.read_text())["pid"])
    return {cell: pid for cell, pid in found.items() if Path(f"/proc/{pid}").exists()}


def until(look: Callable[[], FOUND]) -> FOUND:
    for _ in range(15000):
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_kills_of_workers_and_coordinator_lose_no_cell_and_change_no_byte(tmp_path: Path) -> None:
    file, runs, workers, hit = study_file(tmp_path, KILLED), tmp_path / "runs", set[int](), set[str]()

    def another() -> tuple[str, int] | None:
        """Return a cell that was not hit yet, since a worker that dies twice has failed its cell."""
        found = training(runs)
        workers.update(found.values())
        return next(((cell, pid) for cell, pid in found.items() if cell not in hit), None)

    with coordinator(file, runs, 2) as first:
        for sent in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
            cell, pid = until(another)
            hit.add(cell)
            os.kill(pid, sent)
            if sent == signal.SIGSTOP:
                time.sleep(0.5)
                os.kill(pid, signal.SIGCONT)
        until(another)
        first.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    with coordinator(file, runs, 1) as second:
        assert second.wait() == 0
        until(lambda: not training(runs))

    undisturbed = train(file, tmp_path / "undisturbed", *OVERRIDES)
    assert len(undisturbed.cells) == 6
    for planned in undisturbed.cells:
        cells = (CellFolder(tmp_path / folder / "cells" / planned.id) for folder in ("undisturbed", "runs"))
        one, other = ({name: (cell.path / name).read_bytes() for name in BYTES} for cell in cells)
        assert one == other
        assert not (runs / "cells" / planned.id / "failed.json").exists()
    assert len([*(runs / "cells").iterdir()]) == 6
