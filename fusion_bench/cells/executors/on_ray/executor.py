"""Cells on the nodes of a Ray cluster: one actor per worker, each with a worker program of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from fusion_bench.cells.events import WorkerEvent
from fusion_bench.cells.executors.executor import Wanted, WorkerSettings
from fusion_bench.cells.executors.local import LocalExecutor, WorkerPool
from fusion_bench.cells.executors.on_ray.carrier import ARRIVED, Carrier, OwnInputs
from fusion_bench.cells.executors.on_ray.cluster import Need, ray_library
from fusion_bench.cells.executors.on_ray.node_worker import NodeLaunch, NodeWorker
from fusion_bench.cells.executors.on_ray.remote_program import RemoteProgram
from fusion_bench.cells.executors.program import Hear
from fusion_bench.cells.executors.worker_log import remove_old_logs
from fusion_bench.cells.measure_cell import device_here

_CALLS_AT_ONCE = 16
_PROBE = ".probe-"
_DAY = 86_400.0


class RayExecutor(WorkerPool):
    """A pool of workers on the nodes of the cluster that this process is connected to.

    Latency is measured on this host, where the report says that it was measured.

    Args:
        settings: how to start workers, and how many.
        logs: folder for the workers' log files, on nodes that share the runs folder.
        need: what each worker needs of a node.
        node_runs: the runs folder of nodes that do not share it; empty: in the user's cache.
        wanted: see `WorkerPool`.
    """

    _spare_workers = False

    def __init__(
        self,
        settings: WorkerSettings,
        logs: Path,
        need: Need,
        node_runs: str = "",
        wanted: Wanted = lambda _: True,
    ) -> None:
        super().__init__(settings, wanted)
        self._logs, self._need, self._node_runs = logs, need, node_runs
        self._probe = settings.paths.runs / f"{_PROBE}{secrets.token_hex(16)}"
        self._inputs = OwnInputs(settings.paths)

    def __enter__(self) -> Self:
        remove_old_logs(self._logs)
        runs = self._settings.paths.runs
        runs.mkdir(parents=True, exist_ok=True)
        self._probe.touch()
        _remove_left(runs)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            super().__exit__()
        finally:
            with suppress(OSError):
                self._probe.unlink(missing_ok=True)

    def measure(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        """See `Executor`; the workers of the cluster end first, since some of them may be on this host."""
        self._stop_idle()
        here = replace(self._settings.on(device_here(self._settings.paths.device)), workers=1)
        with LocalExecutor(here, self._logs) as local:
            yield from local.measure(cells)

    def _launch(self, number: int, hear: Hear) -> RemoteProgram:
        launch = NodeLaunch(
            arguments=tuple(self._settings.command()),
            threads=self._settings.threads,
            runs=self._settings.paths.runs,
            host=socket.gethostname(),
            probe=self._probe,
            log=self._logs.resolve() / f"worker-{os.getpid()}-{number}.log",
            node_runs=self._node_runs,
            folder=Path.cwd(),
            python_path=os.environ.get("PYTHONPATH", ""),
            data=NodeLaunch.data_variables(),
            limits_memory=self._settings.limits.memory_gb is not None,
        )
        made = ray_library().remote(NodeWorker)
        placed = made.options(
            num_cpus=self._need.cpus,
            num_gpus=self._need.gpus,
            max_restarts=0,
            max_concurrency=_CALLS_AT_ONCE,
        )
        actor = placed.remote(launch)
        return RemoteProgram(actor, str(self._need), Carrier(self._settings.paths, self._inputs), hear)


def _remove_left(runs: Path) -> None:
    """Remove what coordinators have left in a runs folder that were killed more than a day ago."""
    for path in [*runs.glob(f"{_PROBE}*"), *runs.glob(f"{ARRIVED}*")]:
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _DAY:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
