"""The progress of a run as one plain line per event, for logs and pipes."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console

from fusion_bench.cells.events import (
    CellEvent,
    CellFailed,
    CellFinished,
    CellPreparing,
    CellProgressed,
    CellSilent,
    CellStarted,
    CellStepped,
    CellTold,
)
from fusion_bench.reporting.cell_rows import Board, CellRow, duration
from fusion_bench.reporting.progress_text import drawn_settings, preparing_text, state_word, summary_line
from fusion_bench.study.cell_status import CellState
from fusion_bench.study.observer import RunClosed, RunEvent, RunPlanned, RunPreparing

_SECONDS_BETWEEN_COUNTS = 10.0


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
            case CellPreparing() | CellStepped():
                self._board.update(event)  # a count came as `RunPreparing`; a step is a sign of life only
            case RunClosed():
                if self._board.rows:
                    self._print(summary_line(self._board))
            case _:
                self._print(self._line(event, self._board.update(event)))

    def _prepare(self, event: RunPreparing) -> None:
        """Print what is prepared; counts of it follow every ten seconds."""
        now = self._clock()
        if not event.total or now - self._last >= _SECONDS_BETWEEN_COUNTS:
            self._last = now
            self._print(preparing_text(event))

    def _counts(self) -> str:
        states: tuple[CellState, ...] = ("done", "failed", "stale", "missing")
        counts = [
            f"{self._board.count(state)} {state_word(state)}" for state in states if self._board.count(state)
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
            case CellTold():
                return f"{self._name(row)}: {event.text}"
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
        cell, drawn = row.status.cell, drawn_settings(row)
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
