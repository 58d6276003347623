"""Fewer worker processes, for tests that are not about the isolation of modules: each takes seconds to start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from fusion_bench.cells.events import WorkerEvent
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor


def share_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let cells of foreign modules share the workers of this host, and measure latencies in this process."""
    monkeypatch.setattr("fusion_bench.cells.measure_cell._WARMUP", 0)
    monkeypatch.setattr("fusion_bench.cells.measure_cell._REPEATS", 2)
    monkeypatch.setattr(LocalExecutor, "measure", _measured_here)
    monkeypatch.setattr("fusion_bench.cells.executors.local.needs_own_process", lambda config: False)
    monkeypatch.setattr("fusion_bench.cells.executors.local.is_foreign", lambda target: False)


def _measured_here(executor: LocalExecutor, cells: Sequence[str]) -> Iterator[WorkerEvent]:
    return InlineExecutor(executor._settings).measure(cells)
