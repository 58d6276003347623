"""A cluster whose pilots are threads of this process, and train by touching ``DONE``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fusion_bench.cells.events import (
    CellBusy,
    CellFailed,
    CellFinished,
    CellMeasured,
    CellPrepared,
    CellProgressed,
    CellStarted,
    WorkerEvent,
)
from fusion_bench.cells.executors.executor import Wanted, WorkerSettings
from fusion_bench.cells.executors.slurm.pilot import PilotLoop, PilotTimes
from fusion_bench.cells.executors.slurm.work_list import WorkFolder
from fusion_bench.cells.executors.time_limit import TimeLimit
from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.held_cell import held
from fusion_bench.cells.result import ArmCosts, CellResult
from fusion_bench.lease import LeaseHeld
from fusion_bench.serialisation import to_json
from fusion_bench.storage import write_json
from fusion_bench.training.paths import RunPaths
from toys import toy_config

TIMES = PilotTimes(look=0.01, idle=0.5, scan=0.05, ask=0.02, again=0.1)


def thread_cells(runs: Path, count: int) -> list[str]:
    """Write the folders of so many toy cells, and return their ids."""
    configs = [toy_config(seed=seed) for seed in range(count)]
    for config in configs:
        cell_folder(runs, config.id).write_config(config)
    return [config.id for config in configs]


def write_done(runs: Path, cell: str) -> None:
    """Write what the coordinator reads of a finished cell."""
    folder, costs = cell_folder(runs, cell), ArmCosts(1, 1, 1, 1)
    result = CellResult({"val/accuracy": 0.5}, {}, 1, 1, costs, vocabulary=1, outputs=1, train_samples=1)
    write_json(folder.path / "result.json", to_json(result))
    folder.path.joinpath("DONE").touch()


@dataclass
class Stub:
    """How pilots behave, and what they did.

    Attributes:
        trained: the ids of trained cells, in the order of their ends, with the thread of the pilot.
        fails: the cells that fail, with the reason.
        ends_after: so many cells after which a pilot is lost.
        unable: why no pilot can start a worker; None if each can.
        executors: the threads of the executors that were made.
    """

    trained: list[tuple[str, int]] = field(default_factory=list)
    measured: list[tuple[str, int]] = field(default_factory=list)
    fails: Mapping[str, str] = field(default_factory=dict)
    ends_after: float = float("inf")
    unable: str | None = None
    executors: list[int] = field(default_factory=list)


class LostPilot(BaseException):
    """Stands for SIGKILL."""


class StubExecutor:
    """Trains in no time."""

    def __init__(self, runs: Path, wanted: Wanted, stub: Stub) -> None:
        self._runs, self._wanted, self._stub, self._own = runs, wanted, stub, 0
        stub.executors.append(threading.get_ident())

    def __enter__(self) -> StubExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def prepare(self, cells: Sequence[str], upcoming: Sequence[str] = ()) -> Iterator[WorkerEvent]:
        for cell in cells:
            yield CellPrepared(cell)

    def measure(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        for cell in cells:
            self._stub.measured.append((cell, threading.get_ident()))
            yield CellMeasured(cell, 1.0, "a node")

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        for cell in filter(self._wanted, cells):
            if self._stub.unable is not None:
                yield CellFailed(cell, self._stub.unable)
                continue
            with suppress(LeaseHeld), held(cell_folder(self._runs, cell)) as own:
                if own.folder.done or own.folder.failed.exists():
                    yield CellBusy(cell)
                    continue
                yield CellStarted(cell)
                yield CellProgressed(cell, 1, 1, "select/accuracy", 0.5, None)
                if self._own >= self._stub.ends_after:
                    raise LostPilot
                time.sleep(0.02)
                self._own += 1
                if cell in self._stub.fails:
                    own.fail(Failure(self._stub.fails[cell], kind="hang"))
                    yield CellFailed(cell, self._stub.fails[cell], kind="hang")
                    continue
                self._stub.trained.append((cell, threading.get_ident()))
                write_done(self._runs, cell)
                yield CellFinished(cell, {"val/accuracy": 0.5})


@dataclass
class ThreadPilots:
    """A `Cluster`; ``submitted`` counts the pilots of each submission."""

    folder: WorkFolder
    runs: Path
    stub: Stub
    limit: TimeLimit = field(default_factory=TimeLimit)
    submitted: list[int] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    pending: bool = False
    cancelled: bool = False

    def submit(self, pilot: Callable[[], object], count: int) -> None:
        self.submitted.append(count)
        for _ in range(0 if self.pending else count):
            thread = threading.Thread(target=self._fly, daemon=True)
            self.threads.append(thread)
            thread.start()

    def states(self) -> Mapping[str, str] | None:
        if self.pending:
            return {f"7_{job}": "PENDING (Resources)" for job in range(sum(self.submitted))}
        return {f"{thread.ident}": "RUNNING" for thread in self.threads if thread.is_alive()}

    def cancel_waiting(self) -> None:
        self.cancelled = True

    def join(self) -> None:
        """Wait until every pilot has ended."""
        for thread in self.threads:
            thread.join(timeout=10)
            assert not thread.is_alive()

    def _fly(self) -> None:
        settings = WorkerSettings(RunPaths(self.runs, {}, {}), workers=1, threads=1)
        loop = PilotLoop(
            self.folder,
            settings,
            self.limit,
            TIMES,
            lambda _, wanted: StubExecutor(self.runs, wanted, self.stub),
        )
        try:
            self.ends.append(loop.serve())
        except LostPilot:
            self.ends.append("lost")
        except Exception as error:
            loop.end(str(error), fault=True)
            self.ends.append(str(error))
