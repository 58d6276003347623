"""Workers on a Ray cluster of this host: lost actors and programs, and requests that no node can satisfy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fake_worker import FakeSettings, fake_settings, foreign_cell, own_cell
from fusion_bench.cells.events import CellFailed, CellFinished, CellStarted, CellTold, WorkerEvent
from fusion_bench.cells.executors import local
from fusion_bench.cells.executors.on_ray.cluster import Need, nodes, places_for
from fusion_bench.errors import FusionBenchError
from fusion_bench.limits import Limits
from fusion_bench.training.config import CellConfig

KILL = "os.kill(os.getpid(), signal.SIGKILL)"
# The actor gets time to pass on that the program has started.
KILL_ACTOR = "time.sleep(1); os.kill(os.getppid(), signal.SIGKILL); sys.stdin.read()"


pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_TICK_SECONDS", 0.05)


def executor_of(settings: FakeSettings, cpus: float = 0.5, gpus: float = 0) -> local.WorkerPool:
    from fusion_bench.cells.executors.on_ray.executor import (
        RayExecutor,  # it imports ray, not to be done before
    )

    return RayExecutor(settings, settings.paths.runs / "logs", Need(cpus, gpus))


def served(settings: FakeSettings, cells: Sequence[CellConfig]) -> list[WorkerEvent]:
    """Train cells and return their events; no actor and no worker program may be left."""
    with executor_of(settings) as executor:
        events = list(executor.run([cell.id for cell in cells]))
    left = [pid for cell in cells for pid in settings.pids(cell)]
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in left if psutil.pid_exists(pid)], timeout=10)
    assert not alive
    assert not list(settings.paths.runs.glob(".*"))
    return events


def kinds(events: Sequence[WorkerEvent]) -> list[type[WorkerEvent]]:
    return [type(event) for event in events]


def test_cells_are_trained_by_programs_of_actors(tmp_path: Path) -> None:
    cells = [own_cell(0), foreign_cell(1), own_cell(2)]
    settings = fake_settings(tmp_path, [(cell, "time.sleep(0.1)") for cell in cells], workers=2)
    events = served(settings, cells)
    assert {event.cell for event in events if isinstance(event, CellFinished)} == {cell.id for cell in cells}
    assert all(len(settings.pids(cell)) == 1 for cell in cells)


@pytest.mark.parametrize("act", [KILL, KILL_ACTOR], ids=["program", "actor"])
def test_a_cell_whose_worker_is_lost_once_is_tried_again(tmp_path: Path, act: str) -> None:
    cell = own_cell()
    settings = fake_settings(tmp_path, [(cell, f"if attempt == 1: {act}")])
    assert kinds(served(settings, [cell])) == [CellStarted, CellStarted, CellFinished]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (KILL, "its worker died twice with SIGKILL (often: out of memory)"),
        (KILL_ACTOR, "its worker died twice with its Ray actor: The actor died unexpectedly"),
        (
            "sys.stderr.write('no room left'); sys.stderr.flush(); os._exit(3)",
            "its worker died twice with exit code 3; last line of its log: no room left",
        ),
    ],
    ids=["program", "actor", "log"],
)
def test_a_cell_whose_worker_is_lost_twice_has_failed(tmp_path: Path, act: str, reason: str) -> None:
    bad, good = own_cell(0), own_cell(1)
    settings = fake_settings(tmp_path, [(bad, act), (good, "")])
    failed, finished = [
        event for event in served(settings, [bad, good]) if isinstance(event, CellFailed | CellFinished)
    ]
    assert isinstance(failed, CellFailed)
    assert failed.reason.startswith(reason)
    assert (failed.worker_died, failed.kind) == (True, "lost_worker")
    assert isinstance(finished, CellFinished)


def test_workers_share_gpus_by_parts(tmp_path: Path) -> None:
    cells = [own_cell(seed) for seed in range(4)]
    act = (
        "open(f'gpu-{cell}', 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "while sum(name.startswith('gpu-') for name in os.listdir()) < 4: time.sleep(0.01)"
    )
    settings = fake_settings(tmp_path, [(cell, act) for cell in cells], workers=4)
    with executor_of(settings, cpus=0.25, gpus=0.5) as executor:
        list(executor.run([cell.id for cell in cells]))
    shown = Counter((tmp_path / f"gpu-{cell.id}").read_text() for cell in cells)
    assert shown == {"0": 2, "1": 2}


def test_what_no_node_can_give_is_told_at_once() -> None:
    with pytest.raises(
        FusionBenchError, match=r"no node of the Ray cluster has 1 CPU and 4 GPUs for a worker"
    ):
        places_for(Need(1, 4), None, nodes())
    with pytest.raises(FusionBenchError, match="has place for 2 workers of 1 CPU, not for 5000"):
        places_for(Need(1, 0), 5000, nodes())


def test_a_worker_without_a_place_waits_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusion_bench.cells.executors.on_ray import remote_program

    monkeypatch.setattr(remote_program, "_SECONDS_TO_PLACE", 0.2)
    cell = own_cell()
    settings = replace(fake_settings(tmp_path, [(cell, "")]), limits=Limits(minutes=1e-9))
    with executor_of(settings, cpus=1000) as executor:
        said = next(iter(executor.run([cell.id])))
    assert said == CellTold(cell.id, "waits for a place: no node of the Ray cluster has 1000 CPUs free")
