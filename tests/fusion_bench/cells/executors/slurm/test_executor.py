"""The coordinator and its pilots: every cell ends once, whoever is lost, leaves or comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_bench.cells.events import (
    CellFailed,
    CellFinished,
    CellMeasured,
    CellPrepared,
    CellPreparing,
    CellStarted,
    WorkerEvent,
)
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.slurm.executor import SlurmExecutor
from fusion_bench.cells.executors.slurm.pilot import OUT_OF_TIME, SlurmPilot
from fusion_bench.cells.executors.slurm.pool import PilotPool
from fusion_bench.cells.executors.slurm.work_list import WorkFolder, WorkList
from fusion_bench.cells.executors.time_limit import TimeLimit
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.held_cell import held
from fusion_bench.errors import FusionBenchError
from fusion_bench.training.paths import RunPaths
from thread_pilots import TIMES, Stub, ThreadPilots, thread_cells, write_done


@pytest.fixture
def folder(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path / "studies" / "toy" / "slurm" / "key")


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def cluster(folder: WorkFolder, tmp_path: Path, stub: Stub) -> ThreadPilots:
    return ThreadPilots(folder, tmp_path, stub)


def pool_of(
    cluster: ThreadPilots, pilots: int = 2, tell: Callable[[str], None] = lambda _: None
) -> PilotPool:
    settings = WorkerSettings(RunPaths(cluster.runs, {}, {}), workers=1, threads=1)
    return PilotPool(cluster, SlurmPilot(cluster.folder, settings, None, TIMES), pilots, tell)


def ends(events: list[WorkerEvent]) -> dict[str, WorkerEvent]:
    found = [event for event in events if isinstance(event, CellFinished | CellFailed)]
    assert max(Counter(event.cell for event in found).values(), default=1) == 1
    return {event.cell: event for event in found}


def test_every_cell_is_trained_once_and_the_pilots_end_with_the_run(
    cluster: ThreadPilots, stub: Stub, tmp_path: Path
) -> None:
    cells = thread_cells(tmp_path, 6)
    stub.fails = {cells[2]: "no luck"}
    with pool_of(cluster) as pool, SlurmExecutor(pool, tmp_path, range(6)) as executor:
        assert list(executor.prepare(cells[:1], cells)) == [CellPrepared(cells[0])]
        first = ends(list(executor.run(cells[:3])))
        second = ends(list(executor.run(cells[3:])))
        measured = list(executor.measure(cells[:2]))
    cluster.join()
    assert set(first) == set(cells[:3])
    assert first[cells[2]] == CellFailed(cells[2], "no luck", kind="hang")
    assert second == {cell: CellFinished(cell, {"val/accuracy": 0.5}) for cell in cells[3:]}
    assert Counter(cell for cell, _ in stub.trained) == Counter(
        {cell: 1 for cell in cells if cell != cells[2]}
    )
    assert measured == [CellMeasured(cell, 1.0, "a node") for cell in cells[:2]]
    assert len({pilot for _, pilot in stub.measured}) == 1  # one node measures all arms
    assert cluster.submitted == [2]
    assert cluster.ends == ["the run is over"] * 2
    assert cluster.cancelled


def test_lost_pilots_are_replaced_and_their_cells_trained_by_others(
    cluster: ThreadPilots, stub: Stub, tmp_path: Path
) -> None:
    cells = thread_cells(tmp_path, 7)
    stub.ends_after = 2
    with pool_of(cluster, 1) as pool:
        events = list(SlurmExecutor(pool, tmp_path, ()).run(cells))
    cluster.join()
    assert set(ends(events)) == set(cells)
    assert len(stub.trained) == 7
    assert sum(cluster.submitted) >= 3


def test_a_cell_that_another_process_trains_is_waited_for(
    cluster: ThreadPilots, stub: Stub, tmp_path: Path
) -> None:
    cells = thread_cells(tmp_path, 2)
    events = []
    with pool_of(cluster) as pool, held(cell_folder(tmp_path, cells[0])):
        for event in SlurmExecutor(pool, tmp_path, ()).run(cells):
            events.append(event)
            if isinstance(event, CellFinished) and event.cell == cells[1]:
                # The other process ends its cell, and says nothing.
                write_done(tmp_path, cells[0])
    cluster.join()
    assert set(ends(events)) == set(cells)
    assert [cell for cell, _ in stub.trained] == cells[1:]


def test_the_coordinator_leaves_and_the_next_one_follows_the_same_pilots(
    cluster: ThreadPilots, stub: Stub, tmp_path: Path
) -> None:
    cells, said = thread_cells(tmp_path, 30), list[str]()
    with pytest.raises(KeyboardInterrupt), pool_of(cluster, 2, said.append) as pool:
        for event in SlurmExecutor(pool, tmp_path, ()).run(cells):
            if isinstance(event, CellFinished):
                raise KeyboardInterrupt
    assert "scancel" in said[-1]
    with pool_of(cluster, 2) as pool:
        missing = [cell for cell in cells if not cell_folder(tmp_path, cell).done]
        events = list(SlurmExecutor(pool, tmp_path, ()).run(missing))
    cluster.join()
    assert set(ends(events)) == set(missing)
    assert Counter(cell for cell, _ in stub.trained) == Counter(cells)
    assert cluster.submitted == [2]
    assert len(stub.executors) == 4  # the workers of the earlier run have ended with it


def test_a_coordinator_that_finds_everything_done_needs_no_pilot(
    cluster: ThreadPilots, tmp_path: Path
) -> None:
    with pool_of(cluster) as pool:
        executor = SlurmExecutor(pool, tmp_path, ())
        assert list(executor.measure([])) == []
    assert not cluster.submitted
    assert not cluster.folder.path.exists()


def test_pilots_that_can_do_nothing_are_given_up_with_their_reason(
    cluster: ThreadPilots, stub: Stub, tmp_path: Path
) -> None:
    cells, said = thread_cells(tmp_path, 3), list[str]()
    stub.unable = "No module named 'torch'"
    with (
        pytest.raises(FusionBenchError, match="No module named 'torch'") as ended,
        pool_of(cluster, 2, said.append) as pool,
    ):
        list(SlurmExecutor(pool, tmp_path, ()).run(cells))
    assert "submitted 3 times" in str(ended.value)
    assert len(cluster.submitted) == 3
    assert all("No module named 'torch'" in text for text in said)
    assert not any(cell_folder(tmp_path, cell).failed.exists() for cell in cells)  # none has falsely failed


def test_pilots_without_time_for_any_cell_say_what_to_do(cluster: ThreadPilots, tmp_path: Path) -> None:
    cells = thread_cells(tmp_path, 3)
    cluster.limit = TimeLimit.of_minutes(0)
    folder = cell_folder(tmp_path, cells[0])
    folder.path.joinpath("DONE").touch()
    folder.path.joinpath("timing.json").write_text('{"train_seconds": 100.0, "evaluation_seconds": 1.0}')
    with pytest.raises(FusionBenchError, match="--slurm time=MINUTES"), pool_of(cluster) as pool:
        list(SlurmExecutor(pool, tmp_path, range(3)).run(cells[1:]))
    assert all(reason == OUT_OF_TIME for reason in cluster.ends)


def test_what_waits_in_the_queue_is_said_once_with_the_scheduler_s_reason(
    cluster: ThreadPilots, tmp_path: Path
) -> None:
    cells = thread_cells(tmp_path, 2)
    cluster.pending = True
    with pool_of(cluster) as pool:
        events = SlurmExecutor(pool, tmp_path, ()).run(cells)
        first = next(events)
        assert first == CellPreparing("", "waiting for 2 pilots in the queue: PENDING (Resources)", 0, 0)
        cluster.pending = False
        cluster.submit(lambda: None, 2)
        rest = list(events)
    assert not any(isinstance(event, CellPreparing) for event in rest)
    assert set(ends(rest)) == set(cells)


def test_pilots_of_other_options_are_told_to_end(cluster: ThreadPilots, tmp_path: Path) -> None:
    other = WorkFolder(cluster.folder.path.with_name("other"))
    other.write(WorkList("old", 4, "cell", ("gone",)))
    with pool_of(cluster) as pool:
        list(SlurmExecutor(pool, tmp_path, ()).run(thread_cells(tmp_path, 1)))
    found = other.read()
    assert found is not None
    assert found.kind == "over"


def test_two_coordinators_do_not_share_pilots(cluster: ThreadPilots, tmp_path: Path) -> None:
    cells = thread_cells(tmp_path, 2)
    with pool_of(cluster) as pool:
        next(iter(SlurmExecutor(pool, tmp_path, ()).run(cells)))
        with pytest.raises(FusionBenchError, match="another run uses the pilots"), pool_of(cluster) as second:
            next(iter(SlurmExecutor(second, tmp_path, ()).run(cells)))
        assert isinstance(
            next(iter(SlurmExecutor(pool, tmp_path, ()).run(cells[1:]))), CellStarted | CellFinished
        )


def test_a_pilot_with_nothing_to_do_ends(cluster: ThreadPilots, tmp_path: Path) -> None:
    cluster.submit(lambda: None, 1)
    cluster.join()
    assert "nothing to do" in cluster.ends[0]


def test_a_scheduler_that_is_away_is_waited_for_and_loses_nothing(
    cluster: ThreadPilots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, answers = thread_cells(tmp_path, 2), ThreadPilots.states
    monkeypatch.setattr(ThreadPilots, "states", lambda _: None)
    with pool_of(cluster) as pool:
        events = SlurmExecutor(pool, tmp_path, ()).run(cells)
        assert next(events) == CellPreparing("", "waiting for the scheduler, which gives no answer", 0, 0)
        assert not cluster.submitted
        monkeypatch.setattr(ThreadPilots, "states", answers)
        assert set(ends(list(events))) == set(cells)


def test_a_submission_that_fails_while_others_work_costs_nothing(
    cluster: ThreadPilots, stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, said = thread_cells(tmp_path, 20), list[str]()
    cluster.submit(lambda: None, 1)  # of an earlier run

    def refuse(*_: object) -> None:
        raise FusionBenchError("Slurm did not take the pilots: no")

    monkeypatch.setattr(ThreadPilots, "submit", refuse)
    with pool_of(cluster, 2, said.append) as pool:
        assert set(ends(list(SlurmExecutor(pool, tmp_path, ()).run(cells)))) == set(cells)
    assert set(said) == {"Slurm did not take the pilots: no"}
