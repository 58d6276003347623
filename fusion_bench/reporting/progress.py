"""The progress of a run on the screen: a live table on a terminal, one plain line per event anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fusion_bench.cells.events import (
    CellEvent,
    CellFailed,
    CellFinished,
    CellPreparing,
    CellProgressed,
    CellSilent,
    CellStarted,
)
from fusion_bench.reporting.cell_rows import Board, CellRow, duration
from fusion_bench.samples.counting import Notify, Paced
from fusion_bench.study.cell_status import CellState
from fusion_bench.study.observer import Observer, RunClosed, RunEvent, RunPlanned, RunPreparing

_SIGNS: Final[Mapping[CellState, tuple[str, str]]] = {
    "running": ("▶", "bold cyan"),
    "failed": ("✗", "bold red"),
    "stale": ("~", "yellow"),
    "done": ("✓", "green"),
    "missing": ("·", "dim"),
}
_SECONDS_BETWEEN_COUNTS = 10.0
_NOTHING = RunPreparing("")
_FRAME_ROWS = 6  # title, head, rules and the two lines below the table


class PlainLines:
    """An `Observer` that prints one line per event without control codes: for logs and pipes."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._board = console, Board(clock)
        self._clock, self._last = clock, clock()

    def notify(self, event: RunEvent) -> None:
        """Print what happened."""
        match event:
            case RunPlanned():
                self._board.plan(event)
                self._print(self._counts())
            case RunPreparing():
                self._prepare(event)
            case CellPreparing():
                self._board.update(event)  # its count came as `RunPreparing`
            case RunClosed():
                if self._board.rows:
                    self._print(_summary(self._board))
            case _:
                self._print(self._line(event, self._board.update(event)))

    def _prepare(self, event: RunPreparing) -> None:
        """Print what is prepared; counts of it follow every ten seconds."""
        now = self._clock()
        if not event.total or now - self._last >= _SECONDS_BETWEEN_COUNTS:
            self._last = now
            self._print(_preparing(event))

    def _counts(self) -> str:
        states: tuple[CellState, ...] = ("done", "failed", "stale", "missing")
        counts = [
            f"{self._board.count(state)} {_word(state)}" for state in states if self._board.count(state)
        ]
        return f"{len(self._board.rows)} cells: {', '.join(counts) or 'none'}"

    def _line(self, event: CellEvent, row: CellRow) -> str:
        match event:
            case CellStarted():
                return f"{self._name(row)} started"
            case CellProgressed():
                left = "" if event.seconds_left is None else f", {duration(event.seconds_left)} left"
                epoch = f"epoch {event.epoch}/{event.epochs}"
                return f"{self._name(row)} {epoch}: {event.quantity} {event.value:.4g}{left}"
            case CellSilent():
                return (
                    f"{self._name(row)} has been silent for {duration(event.seconds)}; Ctrl-C stops the run"
                )
            case CellFinished():
                values = ", ".join(f"{name} {value:.4g}" for name, value in event.metrics.items())
                took = duration(self._board.seconds(row))
                return f"{self._name(row)} done in {took}: {values}{self._rest()}"
            case CellFailed():
                return f"{self._name(row)} FAILED: {row.reason}{self._rest()}"

    def _name(self, row: CellRow) -> str:
        cell, drawn = row.status.cell, _drawn(row)
        purpose = "" if cell.purpose == "confirm" else f" ({cell.purpose}{drawn and f': {drawn}'})"
        return f"{cell.arm} seed {cell.seed}{purpose}"

    def _rest(self) -> str:
        over = self._board.count("done") + self._board.count("failed")
        left = self._board.total_seconds_left()
        return f" [{over}/{len(self._board.rows)}" + (
            "]" if left is None else f", about {duration(left)} left]"
        )

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveTable:
    """An `Observer` that keeps one table of all cells on the terminal up to date.

    Of more cells than fit the screen it shows the running ones, then failed, waiting and done ones.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._board = console, Board(clock)
        self._clock, self._since = clock, clock()
        self._preparing = _NOTHING
        self._live = Live(
            console=console, get_renderable=self.render, refresh_per_second=4, vertical_overflow="crop"
        )

    def notify(self, event: RunEvent) -> None:
        """Show what happened."""
        match event:
            case RunPlanned():
                self._board.plan(event)
                self._live.start()
            case RunPreparing():
                if event.what != self._preparing.what:
                    self._since = self._clock()
                self._preparing = event
                self._live.start()
            case CellPreparing():
                self._board.update(event)
            case RunClosed():
                self._preparing = _NOTHING
                if self._live.is_started:
                    self._live.stop()
            case _:
                row = self._board.update(event)
                if isinstance(event, CellStarted):
                    self._preparing = _NOTHING
                if isinstance(event, CellFailed):
                    # Printed above the table, where the reason stays readable.
                    cell, drawn = row.status.cell, _drawn(row)
                    line = f"✗ {cell.arm}, seed {cell.seed}{drawn and f' ({drawn})'}: {row.reason}"
                    self._live.console.print(Text(line, style="red"))

    def render(self) -> RenderableType:
        """The table as it stands, no taller than the terminal."""
        rows = list(self._board.rows.values())
        parts: list[RenderableType] = []
        if rows:
            trials = [_trial_line(row) for row in rows if row.state == "running" and row.status.cell.drawn]
            trials = trials[: self._console.height // 4]
            parts += [self._table(rows, len(trials)), Text(_summary(self._board)), *trials]
        if self._preparing.what:
            # The time goes on where nothing is counted.
            taken = duration(self._clock() - self._since)
            parts.append(Text(f"… {_preparing(self._preparing)} ({taken})", style="cyan"))
        return Group(*parts)

    def _table(self, rows: list[CellRow], lines_below: int) -> Table:
        room = max(4, self._console.height - _FRAME_ROWS - lines_below)
        shown, hidden = self._choose(rows, room)
        metric = next((row.metric for row in rows if row.metric), "metric")
        table = Table(caption=f"and {hidden} more cells" if hidden else None, caption_justify="left")
        table.add_column("arm", overflow="fold")
        table.add_column("seed", justify="right")
        table.add_column("state", no_wrap=True)
        table.add_column(metric, justify="right")
        table.add_column("epoch", justify="right", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("left", justify="right", no_wrap=True)
        for row in shown:
            sign, style = _SIGNS[row.state]
            purpose = "" if row.status.cell.purpose == "confirm" else f" {row.status.cell.purpose}"
            left = self._board.seconds_left(row) if row.state == "running" else None
            table.add_row(
                Text(row.status.cell.arm),
                str(row.status.cell.seed),
                Text(f"{sign} {self._board.silence(row) or _word(row.state)}{purpose}", style=style),
                "" if row.value is None else f"{row.value:.4f}",
                f"{row.epoch}/{row.epochs}" if row.epochs else "",
                duration(self._board.seconds(row)),
                duration(left),
            )
        return table

    @staticmethod
    def _choose(rows: list[CellRow], room: int) -> tuple[list[CellRow], int]:
        """The rows that matter most, kept in the plan's order, and how many are left out."""
        if len(rows) <= room:
            return rows, 0
        urgency: tuple[CellState, ...] = ("running", "failed", "stale", "missing", "done")
        ranked = sorted(range(len(rows)), key=lambda index: (urgency.index(rows[index].state), index))
        return [rows[index] for index in sorted(ranked[:room])], len(rows) - room


@contextmanager
def parts_shown(console: Console) -> Iterator[Notify]:
    """Yield what takes the name of the part of a long work that is done now, and shows it while the block lasts.

    A total of 0 stands for a part that is not counted.
    """
    observer = observer_for(console)
    paced = Paced(lambda *count: observer.notify(RunPreparing(*count)))
    try:
        yield paced
    finally:
        observer.notify(RunClosed())


def observer_for(console: Console) -> Observer:
    """The live table if ``console`` is a terminal that can redraw, plain lines otherwise."""
    redraws = console.is_terminal and not console.is_dumb_terminal
    return LiveTable(console) if redraws else PlainLines(console)


def _word(state: CellState) -> str:
    """Return what the screen calls a state: a missing cell waits for its turn in this run."""
    return "waiting" if state == "missing" else state


def _preparing(event: RunPreparing) -> str:
    """``decoding images 1,200 of 4,000``; what is not counted stands alone."""
    return f"{event.what} {event.done:,} of {event.total:,}" if event.total else event.what


def _trial_line(row: CellRow) -> Text:
    """The settings of a trial on one line, cut at the edge of the screen."""
    cell = row.status.cell
    line = f"▶ {cell.arm}, seed {cell.seed}: {_drawn(row)}"
    return Text(line, style="cyan", no_wrap=True, overflow="ellipsis")


def _drawn(row: CellRow) -> str:
    """The settings that a search drew for a trial: ``kernel_size=5, train.learning_rate=0.0031``."""
    drawn = row.status.cell.drawn.items()
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in drawn
    )


def _summary(board: Board) -> str:
    over = board.count("done")
    parts = [f"{over} of {len(board.rows)} cells done"]
    if board.count("failed"):
        parts.append(f"{board.count('failed')} failed")
    left = board.total_seconds_left()
    if left is not None:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)
