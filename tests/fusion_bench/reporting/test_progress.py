"""What a run shows: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from fusion_bench.cells.events import (
    CellFailed,
    CellFinished,
    CellProgressed,
    CellSilent,
    CellStarted,
    CellTold,
)
from fusion_bench.reporting.cell_rows import duration
from fusion_bench.reporting.live_table import LiveTable
from fusion_bench.reporting.plain_lines import PlainLines
from fusion_bench.reporting.progress import observer_for
from fusion_bench.study.cell_status import CellState, CellStatus
from fusion_bench.study.observer import Observer, RunClosed, RunPlanned, RunPreparing, SilentObserver
from fusion_bench.study.plan import PlannedCell, Purpose
from fusion_bench.training.config import Json
from toys import toy_config

PLAIN = toy_config()


def planned(arm: str, seed: int, state: CellState = "missing", purpose: Purpose = "confirm") -> CellStatus:
    """A status of a cell whose id depends on its arm and seed."""
    config = replace(PLAIN, train=replace(PLAIN.train, epochs=len(arm)), seed=seed)
    return CellStatus(PlannedCell(arm, "arm", seed, purpose, config), state)


CELLS = [planned("laconv", 0), planned("laconv", 1), planned("film", 0), planned("film", 1, "done")]
A0, A1, B0, _ = (status.cell.id for status in CELLS)


class Clock:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def terminal(height: int = 40) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=height, color_system=None)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def shown(table: LiveTable) -> str:
    """The table as it stands, as text."""
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(table.render())
    return written(console)


def row(text: str, *starts: str) -> str:
    """The one line of a drawn table whose cells begin with ``starts``."""
    lines = [
        line
        for line in text.splitlines()
        if line.strip("│ ").replace("│", "").split()[: len(starts)] == [*starts]
    ]
    assert len(lines) == 1, text
    return lines[0]


@pytest.fixture
def table() -> tuple[LiveTable, Clock]:
    clock = Clock()
    live = LiveTable(terminal(), clock)
    live.notify(RunPlanned(CELLS))
    return live, clock


def test_the_table_shows_every_cell_with_its_state_metric_epoch_and_time_left(
    table: tuple[LiveTable, Clock],
) -> None:
    live, clock = table
    live.notify(CellStarted(A0))
    clock.now += 20
    live.notify(CellProgressed(A0, 2, 8, "select/accuracy", 0.54321, 60.0))
    clock.now += 10
    text = shown(live)
    live.notify(RunClosed())

    assert "select/accuracy" in text
    for part in ("▶ running", "0.5432", "2/8", "0:30", "0:50"):
        assert part in row(text, "laconv", "0")
    assert "· waiting" in row(text, "laconv", "1")
    assert "✓ done" in row(text, "film", "1")
    assert "1 of 4 cells done" in text


def test_a_cell_that_gives_no_sign_of_life_is_said_to_be_silent(table: tuple[LiveTable, Clock]) -> None:
    live, clock = table
    live.notify(CellStarted(A0))
    live.notify(CellStarted(B0))
    clock.now += 59
    assert "silent" not in shown(live)
    live.notify(CellProgressed(B0, 1, 8, "select/accuracy", 0.5, 60.0))
    clock.now += 303
    live.notify(CellSilent(A0, 362.0))  # what the executor tells in between changes nothing
    text = shown(live)
    assert "▶ silent for 6:02" in row(text, "laconv", "0")
    assert "▶ silent for 5:03" in row(text, "film", "0")
    live.notify(CellProgressed(A0, 1, 8, "select/accuracy", 0.5, 60.0))
    live.notify(CellFinished(B0, {"val/accuracy": 0.6}))
    text = shown(live)
    live.notify(RunClosed())
    assert "silent" not in text
    assert "▶ running" in row(text, "laconv", "0")


def test_what_is_told_of_a_cell_stays_above_the_table(table: tuple[LiveTable, Clock]) -> None:
    live, clock = table
    live.notify(CellStarted(A0))
    clock.now += 303
    live.notify(CellTold(A0, "goes on from its checkpoint at step 7"))
    live.notify(RunClosed())
    assert "laconv, seed 0: goes on from its checkpoint at step 7" in written(live._console)
    assert "silent" not in shown(live)


def test_the_total_is_the_work_left_over_the_workers_seen(table: tuple[LiveTable, Clock]) -> None:
    # One worker: 60 s of the running cell are left, and two waiting cells of 80 s each.
    live, clock = table
    live.notify(CellStarted(A0))
    clock.now += 20
    live.notify(CellProgressed(A0, 2, 8, "select/accuracy", 0.5, 60.0))
    text = shown(live)
    live.notify(RunClosed())
    assert f"about {duration(60 + 80 + 80)} left" in text


def test_a_finished_cell_predicts_the_others_of_its_arm(table: tuple[LiveTable, Clock]) -> None:
    live, clock = table
    live.notify(CellStarted(A0))
    clock.now += 100
    live.notify(CellFinished(A0, {"val/accuracy": 0.9}))
    live.notify(CellStarted(B0))
    clock.now += 40
    live.notify(CellFinished(B0, {"val/accuracy": 0.6}))
    live.notify(CellStarted(A1))
    clock.now += 30
    text = shown(live)
    live.notify(RunClosed())
    assert "1:10" in row(text, "laconv", "1")
    assert "3 of 4 cells done, about 1:10 left" in text


def test_a_failed_cell_stays_in_the_table_and_its_reason_above_it(table: tuple[LiveTable, Clock]) -> None:
    live, _ = table
    live.notify(CellStarted(B0))
    live.notify(CellFailed(B0, "the loss is not finite\nat step 12"))
    text = shown(live)
    console = live._console
    live.notify(RunClosed())
    assert "✗ failed" in row(text, "film", "0")
    assert "1 failed" in text
    assert "film, seed 0: the loss is not finite at step 12" in written(console)


def test_a_table_taller_than_the_terminal_keeps_what_matters() -> None:
    live = LiveTable(terminal(height=16), Clock())
    done = [planned("film", seed, "done") for seed in range(50)]
    last = planned("film", 49)
    live.notify(RunPlanned(done))
    live.notify(RunPlanned([*done[:49], last]))
    live.notify(CellStarted(last.cell.id))
    text = shown(live)
    live.notify(RunClosed())
    assert "▶ running" in row(text, "film", "49")
    assert "and 40 more cells" in text
    assert len(text.splitlines()) <= 16


def test_preparation_is_shown_until_the_first_cell_starts() -> None:
    live = LiveTable(terminal(), Clock())
    live.notify(RunPreparing("training the pretext backbone"))
    before = shown(live)
    live.notify(RunPlanned(CELLS))
    live.notify(CellStarted(A0))
    after = shown(live)
    live.notify(RunClosed())
    assert "training the pretext backbone" in before
    assert "training the pretext backbone" not in after


def trial(arm: str, **drawn: Json) -> CellStatus:
    status = planned(arm, 7, purpose="search")
    return replace(status, cell=replace(status.cell, drawn=drawn))


def test_search_cells_name_the_settings_of_their_trial() -> None:
    status = trial("film", kernel_size=5, norm="batch", **{"train.learning_rate": 0.003141592653})
    live = LiveTable(terminal(), Clock())
    live.notify(RunPlanned([status]))
    live.notify(CellStarted(status.cell.id))
    text = shown(live)
    live.notify(RunClosed())
    assert "▶ film, seed 7: kernel_size=5, norm=batch, train.learning_rate=0.00314159\n" in text
    lines, live = Console(file=io.StringIO()), LiveTable(terminal(), Clock())
    for observer in (PlainLines(lines, Clock()), live):
        observer.notify(RunPlanned([status]))
        observer.notify(CellStarted(status.cell.id))
        observer.notify(CellFailed(status.cell.id, "no memory"))
        observer.notify(RunClosed())
    drawn = "kernel_size=5, norm=batch, train.learning_rate=0.00314159"
    assert f"film seed 7 (search: {drawn}) started" in written(lines)
    assert f"film seed 7 (search: {drawn}) FAILED: no memory" in written(lines)
    assert f"film, seed 7 ({drawn}): no memory" in " ".join(written(live._console).split())


def test_a_resumed_table_shows_the_metrics_of_cells_already_done() -> None:
    live = LiveTable(terminal(), Clock())
    done = CELLS[3].cell.id
    live.notify(RunPlanned(CELLS, "accuracy", {done: 0.87654}))
    text = shown(live)
    live.notify(RunClosed())
    assert "select/accuracy" in text
    assert "0.8765" in row(text, "film", "1")
    assert "0." not in row(text, "film", "0")


def test_a_finished_cell_shows_the_epoch_that_was_kept() -> None:
    live = LiveTable(terminal(), Clock())
    live.notify(RunPlanned(CELLS, "accuracy"))
    live.notify(CellStarted(A0))
    live.notify(CellProgressed(A0, 1, 2, "select/accuracy", 0.9, 1.0))
    live.notify(CellProgressed(A0, 2, 2, "select/accuracy", 0.1, 0.0))
    live.notify(CellFinished(A0, {"val/accuracy": 0.9, "test/accuracy": 0.4}, {"accuracy": 0.9}))
    text = shown(live)
    live.notify(RunClosed())
    assert "0.9000" in row(text, "laconv", "0")


def test_preparation_is_counted_in_the_table_and_now_and_then_in_the_log() -> None:
    clock = Clock()
    live, console = LiveTable(terminal(), clock), Console(file=io.StringIO())
    lines = PlainLines(console, clock)
    for observer in (live, lines):
        observer.notify(RunPreparing("making data, weights and cached maps"))
    for done in range(0, 4001, 200):
        for observer in (live, lines):
            observer.notify(RunPreparing("decoding images", done, 4000))
        clock.now += 1
        if done == 1200:
            assert "… decoding images 1,200 of 4,000 (0:07)" in shown(live)
    live.notify(RunClosed())
    lines.notify(RunClosed())
    assert written(console).splitlines() == [
        "making data, weights and cached maps",
        "decoding images 2,000 of 4,000",
        "decoding images 4,000 of 4,000",
    ]


def test_search_cells_say_so() -> None:
    live = LiveTable(terminal(), Clock())
    live.notify(RunPlanned([planned("film", 7, purpose="search")]))
    text = shown(live)
    live.notify(RunClosed())
    assert "waiting search" in text


def test_plain_lines_are_one_per_event_without_control_codes() -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=20)
    lines = PlainLines(console, clock)
    lines.notify(RunPlanned(CELLS))
    lines.notify(RunPreparing("making data [red]"))
    lines.notify(CellStarted(A0))
    clock.now += 65
    lines.notify(CellProgressed(A0, 1, 2, "select/accuracy", 0.5, 65.0))
    lines.notify(CellFinished(A0, {"val/accuracy": 0.75, "test/accuracy": 0.7}))
    lines.notify(CellStarted(B0))
    lines.notify(CellTold(B0, "goes on from its checkpoint at step 7"))
    lines.notify(CellSilent(B0, 300.0))
    lines.notify(CellFailed(B0, "no\nmemory"))
    lines.notify(RunClosed())
    assert written(console).splitlines() == [
        "4 cells: 1 done, 3 waiting",
        "making data [red]",
        "laconv seed 0 started",
        "laconv seed 0 epoch 1/2: select/accuracy 0.5, 1:05 left",
        "laconv seed 0 done in 1:05: val/accuracy 0.75, test/accuracy 0.7 [2/4]",
        "film seed 0 started",
        "film seed 0: goes on from its checkpoint at step 7",
        "film seed 0 has been silent for 5:00; Ctrl-C stops the run",
        "film seed 0 FAILED: no memory [3/4]",
        "2 of 4 cells done, 1 failed",
    ]


def test_a_terminal_gets_the_table_and_a_pipe_the_lines() -> None:
    assert isinstance(observer_for(terminal()), LiveTable)
    assert isinstance(observer_for(Console(file=io.StringIO())), PlainLines)


@pytest.mark.parametrize(
    "make", [SilentObserver, lambda: PlainLines(Console(quiet=True)), lambda: LiveTable(terminal())]
)
def test_every_observer_hears_a_whole_run(make: Callable[[], Observer]) -> None:
    observer = make()
    observer.notify(RunPreparing("data"))
    observer.notify(RunPlanned(CELLS))
    observer.notify(CellStarted(A0))
    observer.notify(CellProgressed(A0, 1, 1, "select/accuracy", 0.5, None))
    observer.notify(CellTold(A0, "goes on from its checkpoint at step 7"))
    observer.notify(CellSilent(A0, 300.0))
    observer.notify(CellFinished(A0, {"test/accuracy": 0.5}))
    observer.notify(CellFailed(A1, "the worker died before it started"))
    observer.notify(RunClosed())


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0, "0:00"), (75, "1:15"), (59.7, "1:00"), (3675, "1:01:15")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
