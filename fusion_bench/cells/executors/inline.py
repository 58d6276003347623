"""Run cells in the current process, one after another: for toy runs and tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fusion_bench.cells.events import WorkerEvent
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.worker import Worker


class InlineExecutor:
    """Runs everything in this process, one job after another: for toy runs and tests."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._events: list[WorkerEvent] = []
        self._worker = Worker(settings.paths, self._events.append, keep_weights=settings.keep_weights)

    def __enter__(self) -> InlineExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.clear()

    def prepare(self, cells: Sequence[str], upcoming: Sequence[str] = ()) -> Iterator[WorkerEvent]:
        """See `Executor`; no worker has to start for the cells ``upcoming``."""
        del upcoming
        yield from self._jobs("prepare", cells)

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """See `Executor`."""
        yield from self._jobs("cell", cells)

    def measure(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """See `Executor`."""
        yield from self._jobs("measure", cells)

    def _jobs(self, job: str, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        for cell in cells:
            self._worker.handle({job: cell})
            yield from self._events
            self._events.clear()
