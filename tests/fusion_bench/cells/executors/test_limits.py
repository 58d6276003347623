"""A cell that passes a limit is stopped, fails once and says why; the other cells go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fake_worker import FakeSettings, fake_settings, own_cell
from fusion_bench.cells.events import CellFailed, CellFinished, WorkerEvent
from fusion_bench.cells.executors import local, worker_process
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.failure import Failure, FailureKind
from fusion_bench.errors import CellFailure
from fusion_bench.limits import Limits
from fusion_bench.training.config import CellConfig

SLEEP = "time.sleep(60)"
STEPS = """
for step in range(1, 600):
    say("CellStepped", cell=cell, phase="training", step=step, steps=600)
    time.sleep(0.1)
"""
HOLD = "held = b'x' * 400_000_000; time.sleep(60)"
HOLD_IN_CHILD = f"subprocess.run([sys.executable, '-c', {('import time; ' + HOLD)!r}])"
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(worker_process, "_HANG_SECONDS", 1.0)


def served(tmp_path: Path, acts: Sequence[tuple[CellConfig, str]], limits: Limits) -> list[WorkerEvent]:
    settings: FakeSettings = replace(fake_settings(tmp_path, acts), limits=limits)
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        return list(executor.run([cell.id for cell, _ in acts]))


@pytest.mark.parametrize(
    ("act", "limits", "kind", "reason"),
    [
        (
            SLEEP,
            Limits(minutes=0.04),
            "hang",
            "it was not done after limits.minutes (0.04), and had done no step",
        ),
        (STEPS, Limits(minutes=0.04), "time_limit", "it was still making steps: raise limits.minutes"),
        (HOLD, Limits(memory_gb=0.3), "out_of_memory", "more than limits.memory_gb (0.3 GB); a smaller"),
        (HOLD_IN_CHILD, Limits(memory_gb=0.3), "out_of_memory", "more than limits.memory_gb (0.3 GB)"),
    ],
    ids=["hang", "slow", "memory", "memory of a child"],
)
def test_a_cell_that_passes_a_limit_fails_once_and_the_next_one_is_trained(
    tmp_path: Path, act: str, limits: Limits, kind: FailureKind, reason: str
) -> None:
    bad, good = own_cell(0), own_cell(1)
    events = served(tmp_path, [(bad, act), (good, "")], limits)
    (failed,) = [event for event in events if isinstance(event, CellFailed)]
    assert (failed.cell, failed.kind, failed.worker_died) == (bad.id, kind, True)
    assert reason in failed.reason
    assert [event.cell for event in events if isinstance(event, CellFinished)] == [good.id]
    assert len((tmp_path / f"started-{bad.id}").read_text().split()) == 1


@pytest.mark.parametrize(
    ("retries", "said"),
    [
        (0, "its worker died with SIGKILL"),
        (1, "its worker died twice with"),
        (3, "its worker died 4 times with"),
    ],
)
def test_a_cell_is_started_again_as_often_as_the_study_says(tmp_path: Path, retries: int, said: str) -> None:
    cell = own_cell()
    *_, failed = served(tmp_path, [(cell, KILL)], Limits(retries=retries))
    assert isinstance(failed, CellFailed)
    assert (failed.kind, failed.worker_died) == ("lost_worker", True)
    assert failed.reason.startswith(said)
    assert len((tmp_path / f"started-{cell.id}").read_text().split()) == retries + 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("no"), "exception"),
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (CellFailure("the loss was not finite at step 3"), "not_finite"),
        (CellFailure("it called sys.exit(3)"), "exception"),
    ],
)
def test_an_exception_has_a_kind(tmp_path: Path, error: Exception, kind: FailureKind) -> None:
    failure = Failure.of(error, tmp_path / "failed.json")
    assert failure.kind == kind
    assert failure.reason.endswith("needs less memory") == (kind == "out_of_memory")
