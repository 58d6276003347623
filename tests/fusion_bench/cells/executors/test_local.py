"""Worker processes: deaths, silence, floods of text and busy cells cost no other cell, and nobody is left behind."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import toys
from fake_worker import FakeSettings, fake_settings, foreign_cell, own_cell
from fusion_bench.cells.events import (
    CellFailed,
    CellFinished,
    CellMeasured,
    CellPrepared,
    CellProgressed,
    CellSilent,
    CellStarted,
    WorkerEvent,
)
from fusion_bench.cells.executors import local
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.executors.worker_log import LARGEST_LOG, remove_old_logs
from fusion_bench.cells.executors.worker_process import WorkerProcess
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.held_cell import held
from fusion_bench.errors import LONGEST_REASON
from fusion_bench.spec.load import read_study
from fusion_bench.study.plan import confirm_cells, write_configs
from fusion_bench.training.config import CellConfig
from fusion_bench.training.paths import RunPaths
from toys import study_file

KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_TICK_SECONDS", 0.05)


def served(settings: FakeSettings, cells: Sequence[CellConfig]) -> list[WorkerEvent]:
    """Train cells and return their events; nothing may be left running."""
    with LocalExecutor(settings, settings.paths.runs / "logs") as executor:
        events = list(executor.run([cell.id for cell in cells]))
    assert not any(left_of(pid) for cell in cells for pid in settings.pids(cell))
    return events


def left_of(group: int) -> list[int]:
    """Return the processes of a group that still run, after ten seconds for those that were killed to end.

    The dead that nobody has asked about do not count.
    """
    members = []
    for process in psutil.process_iter(["status"]):
        with suppress(ProcessLookupError):  # it ended meanwhile
            if process.info["status"] != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == group:
                members.append(process)
    _, alive = psutil.wait_procs(members, timeout=10)
    return [process.pid for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def ends(events: Sequence[WorkerEvent]) -> dict[str, WorkerEvent]:
    return {event.cell: event for event in events if isinstance(event, CellFinished | CellFailed)}


def failure(events: Sequence[WorkerEvent], cell: CellConfig) -> CellFailed:
    event = ends(events)[cell.id]
    assert isinstance(event, CellFailed)
    return event


def test_a_cell_whose_worker_dies_once_is_tried_again(tmp_path: Path) -> None:
    cell = own_cell()
    settings = fake_settings(tmp_path, [(cell, f"if attempt == 1: {KILL}")])
    events = served(settings, [cell])
    assert [type(event) for event in events] == [CellStarted, CellStarted, CellFinished]


def test_a_cell_whose_worker_dies_twice_has_failed(tmp_path: Path) -> None:
    bad, good = own_cell(0), own_cell(1)
    settings = fake_settings(tmp_path, [(bad, KILL), (good, "")])
    events = served(settings, [bad, good])
    assert failure(events, bad) == CellFailed(
        bad.id, "its worker died twice with SIGKILL (often: out of memory)", True, "lost_worker"
    )
    assert isinstance(ends(events)[good.id], CellFinished)


@pytest.mark.parametrize("dead", [1, 3])
def test_a_cell_that_was_handed_to_the_dead_has_not_been_tried(
    tmp_path: Path, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The moment between the death of an idle worker and the time when its death can be seen is made endless.
    monkeypatch.setattr(WorkerProcess, "idle", property(lambda process: process.job is None))
    first = [own_cell(seed) for seed in range(dead)]
    cell = own_cell(9)
    wait = f"\nwhile sum(name.startswith('started') for name in os.listdir()) < {dead}: time.sleep(0.01)"
    settings = fake_settings(
        tmp_path, [*((other, wait) for other in first), (cell, f"if attempt == 1: {KILL}")], dead
    )
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        assert len(ends(list(executor.run([other.id for other in first])))) == dead
        for process in executor._processes:
            process.program.popen.kill()
            process.program.popen.wait()
        events = list(executor.run([cell.id]))
    assert isinstance(ends(events)[cell.id], CellFinished)
    assert len(settings.pids(cell)) == 2


def test_a_worker_that_cannot_start_says_so_and_the_cell_is_not_recorded_as_failed(tmp_path: Path) -> None:
    cell = own_cell()
    settings = fake_settings(tmp_path, [(cell, "")])
    settings = replace(settings, before="import sys; sys.exit('no torch here')")
    event = failure(served(settings, [cell]), cell)
    assert event.reason == (
        "its worker died twice before it started the cell, with exit code 1; last line of its log: no torch here"
    )
    assert not event.worker_died


def test_data_that_kills_its_worker_is_tried_twice(tmp_path: Path) -> None:
    cell = own_cell()
    settings = fake_settings(tmp_path, [(cell, KILL)])
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        (event,) = executor.prepare([cell.id])
    assert isinstance(event, CellFailed)
    assert len(settings.pids(cell)) == 2


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ('b"y" * 5_000_000 + b"\\n"', "yyyy"),
        ('b"y" * 5_000_000 + b" the end"', " the end"),
        ('b"line\\n" * 1_000_000 + b"the end\\n"', "last line of its log: the end"),
        ('b"\\x1b[2J\\xff\\x00 the end"', "the end"),
    ],
)
def test_what_a_worker_says_before_it_dies_is_cut(tmp_path: Path, text: str, end: str) -> None:
    cell = own_cell()
    act = f"sys.stderr.buffer.write({text}); sys.stderr.flush(); os._exit(4)"
    settings = fake_settings(tmp_path, [(cell, act)])
    reason = failure(served(settings, [cell]), cell).reason
    assert reason.startswith("its worker died twice with exit code 4; last line of its log: ")
    assert len(reason) <= LONGEST_REASON
    assert reason.isprintable()
    said, _, where = reason.partition(" (more of it stands in ")
    assert said.endswith(end)
    logs = list((tmp_path / "logs").iterdir())
    assert not where or Path(where.removesuffix(")")) in logs
    assert sum(log.stat().st_size for log in logs) <= 2 * 2 * (LARGEST_LOG + (1 << 16))


def test_a_module_that_prints_and_prints_is_not_held_up_and_fills_no_disk(tmp_path: Path) -> None:
    cell = own_cell()
    act = "for _ in range(2000): sys.stderr.write('z' * 9999 + '\\n')"  # 20 MB
    settings = fake_settings(tmp_path, [(cell, act)])
    assert isinstance(ends(served(settings, [cell]))[cell.id], CellFinished)
    logs = list((tmp_path / "logs").iterdir())
    assert sum(log.stat().st_size for log in logs) <= 2 * (LARGEST_LOG + (1 << 16))


@pytest.mark.parametrize(
    "line",
    [
        'b"hello\\n"',
        'b"{}\\n"',
        'b"x" * 3_000_000 + b"\\n"',
        'b"[" * 100_000 + b"\\n"',
        'b"\\xff\\xfe\\n"',
        'json.dumps({"event": "CellFinished", "cell": "another", "metrics": {}}).encode() + b"\\n"',
        'json.dumps({"event": "CellFinished", "cell": cell, "metrics": [1]}).encode() + b"\\n"',
    ],
)
def test_what_is_written_into_the_pipe_of_events_costs_its_cell_alone(tmp_path: Path, line: str) -> None:
    bad, good = own_cell(0), own_cell(1)
    settings = fake_settings(tmp_path, [(bad, f"os.write(1, {line}); time.sleep(60)"), (good, "")])
    events = served(settings, [bad, good])
    reason = failure(events, bad).reason
    assert reason == "its worker died twice: something wrote into the pipe of its events"
    assert isinstance(ends(events)[good.id], CellFinished)


@pytest.mark.parametrize("session", [False, True], ids=["same session", "own session"])
def test_a_process_that_a_module_leaves_behind_holds_nothing_up(tmp_path: Path, session: bool) -> None:
    cell = own_cell()
    act = (
        "child = os.fork()\n"
        f"if not child:\n    {'os.setsid()' if session else 'pass'}\n    time.sleep(300)\n"
        "open(f'child-{attempt}', 'w').write(str(child)); os._exit(5)"
    )
    settings = fake_settings(tmp_path, [(cell, act)])
    began = time.monotonic()
    try:
        assert "exit code 5" in failure(served(settings, [cell]), cell).reason
        assert time.monotonic() - began < 60
    finally:
        for file in tmp_path.glob("child-*"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def test_a_worker_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "GRACE_SECONDS", 0.2)
    cells = [own_cell(0), own_cell(1)]
    deaf = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "say('CellProgressed', cell=cell, epoch=1, epochs=2, quantity='q', value=0.5, seconds_left=None)\n"
        "time.sleep(600)"
    )
    settings = fake_settings(tmp_path, [(cell, deaf) for cell in cells], workers=2)
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        events = executor.run([cell.id for cell in cells])
        heard = 0
        while heard < 2:
            heard += isinstance(next(events), CellProgressed)
    assert not any(left_of(pid) for cell in cells for pid in settings.pids(cell))


def test_a_silent_cell_is_told_at_longer_and_longer_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_SILENT_SECONDS", 0.1)
    cell, chatty = own_cell(0), own_cell(1)
    progress = (
        "say('CellProgressed', cell=cell, epoch=1, epochs=2, quantity='q', value=0.5, seconds_left=None)"
    )
    talk = f"for _ in range(150):\n    time.sleep(0.01)\n    {progress}"
    settings = fake_settings(tmp_path, [(cell, "time.sleep(1.5)"), (chatty, talk)], workers=2)
    silences = [event for event in served(settings, [cell, chatty]) if isinstance(event, CellSilent)]
    assert {event.cell for event in silences} == {cell.id}
    assert 2 <= len(silences) <= 4
    assert all(b.seconds >= 2 * a.seconds for a, b in itertools.pairwise(silences))


def test_a_foreign_module_never_shares_a_process(tmp_path: Path) -> None:
    cells = [own_cell(0), foreign_cell(0), own_cell(1), foreign_cell(1), own_cell(2)]
    settings = fake_settings(tmp_path, [(cell, "") for cell in cells])
    assert len(ends(served(settings, cells))) == len(cells)
    pids = [settings.pids(cell)[0] for cell in cells]
    assert pids[0] == pids[2] == pids[4]
    assert len(set(pids)) == 3


def test_latencies_share_a_process_that_trained_nothing_with_no_other_alive(tmp_path: Path) -> None:
    cells = [own_cell(0), own_cell(1), foreign_cell(0)]
    settings = fake_settings(tmp_path, [(cell, "") for cell in cells], workers=2)
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        list(executor.run([cell.id for cell in cells]))
        trained = {settings.pids(cell)[0] for cell in cells}
        events = executor.measure([cell.id for cell in cells])
        assert next(events) == CellMeasured(cells[0].id, 1.0)
        assert not any(map(left_of, trained))
        assert list(events) == [CellMeasured(cell.id, 1.0) for cell in cells[1:]]
    first, second, foreign = (settings.pids(cell)[1] for cell in cells)
    assert first == second != foreign
    assert trained.isdisjoint({first, foreign})


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (KILL, "its process ended with SIGKILL (often: out of memory)"),
        ("time.sleep(600)", "its process ended: no answer within"),
    ],
)
def test_a_latency_that_cannot_be_measured_is_one_sentence(
    tmp_path: Path, act: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_MEASURING_SECONDS", 0.5)
    cells = [own_cell(0), own_cell(1)]
    settings = fake_settings(tmp_path, [(cells[0], act), (cells[1], "")])
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        first, second = executor.measure([cell.id for cell in cells])
    assert isinstance(first, CellFailed)
    assert first.reason.startswith(reason)
    assert second == CellMeasured(cells[1].id, 1.0)
    assert len(settings.pids(cells[0])) == 1


def test_workers_start_while_the_data_are_made(tmp_path: Path) -> None:
    cells = [own_cell(seed) for seed in range(4)]
    settings = fake_settings(tmp_path, [(cell, "time.sleep(0.5)") for cell in cells], workers=3)
    ids = [cell.id for cell in cells]
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        assert list(executor.prepare(ids[:1], upcoming=ids)) == [CellPrepared(ids[0])]
        ready = {process.program.popen.pid for process in executor._processes}
        assert len(ready) == 3
        list(executor.run(ids))
    assert {settings.pids(cell)[-1] for cell in cells} == ready


@pytest.mark.parametrize(
    ("upcoming", "started"), [([own_cell()], 1), ([foreign_cell(), foreign_cell(1), own_cell()], 1)]
)
def test_no_worker_starts_early_that_no_cell_will_use(
    tmp_path: Path, upcoming: list[CellConfig], started: int
) -> None:
    settings = fake_settings(tmp_path, [(cell, "") for cell in upcoming], workers=3)
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        list(executor.prepare([own_cell().id], upcoming=[cell.id for cell in upcoming]))
        assert len(executor._processes) == started


def test_old_logs_are_removed(tmp_path: Path) -> None:
    for number in range(120):
        log = tmp_path / f"worker-1-{number}.log"
        log.touch()
        os.utime(log, (number, number))
    (tmp_path / "notes.txt").touch()
    remove_old_logs(tmp_path)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"notes.txt", *(f"worker-1-{number}.log" for number in range(20, 120))}


def test_a_cell_that_another_study_trains_is_waited_for(tmp_path: Path) -> None:
    busy, other = foreign_cell(0), own_cell(1)
    settings = fake_settings(tmp_path, [(busy, ""), (other, "")])
    folder = cell_folder(tmp_path, busy.id)
    taken, let_go = threading.Event(), threading.Event()

    def another_study() -> None:
        with held(folder):
            taken.set()
            let_go.wait(60)
            time.sleep(0.3)

    threading.Thread(target=another_study).start()
    taken.wait(60)
    events = []
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        for event in executor.run([busy.id, other.id]):
            events.append(event)
            let_go.set()
    assert [event.cell for event in events] == [other.id, other.id, busy.id, busy.id]
    assert len(settings.pids(busy)) == 1


def test_a_cell_that_was_taken_at_the_last_moment_is_asked_for_again_and_has_not_been_tried(
    tmp_path: Path,
) -> None:
    cell = own_cell()
    act = f"answered = attempt <= 2\nif answered: say('CellBusy', cell=cell)\nelif attempt == 3: {KILL}"
    settings = fake_settings(tmp_path, [(cell, act)])
    events = served(settings, [cell])
    assert [type(event) for event in events] == [*[CellStarted] * 4, CellFinished]


@pytest.mark.slow
def test_workers_live_on_between_calls_and_stop_when_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(toys.__file__).parent), os.environ.get("PYTHONPATH", "")])
    )
    settings = WorkerSettings(RunPaths(tmp_path / "runs", {}, {}), workers=2, threads=1)
    overrides = (
        "seeds=[0, 1]",
        "arms={film: {module: film}}",
        "text={encoder: gru, embedding: 8, hidden: 8}",
    )
    study = read_study(study_file(tmp_path), overrides)
    cells = confirm_cells(study.arms, study.seeds)
    write_configs(cells, settings.paths.runs)
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        *_, last = executor.prepare([cells[0].id])
        assert isinstance(last, CellPrepared)
        assert last.provenance is not None
        (first,) = executor._processes
        ended = [event.cell for event in executor.run([cells[0].id]) if isinstance(event, CellFinished)]
        ended += [event.cell for event in executor.run([cells[1].id]) if isinstance(event, CellFinished)]
        assert executor._processes == [first]
        *_, measured = executor.measure([cells[0].id])
        assert isinstance(measured, CellMeasured)
        (measuring,) = executor._processes
        assert measuring is not first, "a process that has trained measures nothing"
        assert first.program.popen.returncode is not None
    assert ended == [cell.id for cell in cells]
    assert measuring.program.popen.returncode is not None


def test_threads_are_fixed_before_torch_is_imported(tmp_path: Path) -> None:
    environment = WorkerSettings(RunPaths(tmp_path, {}, {}), workers=2, threads=1).environment()
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("1", "1")
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
