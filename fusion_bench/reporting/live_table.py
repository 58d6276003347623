"""The progress of a run as a live table on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fusion_bench.cells.events import CellFailed, CellPreparing, CellStarted, CellStepped, CellTold
from fusion_bench.reporting.cell_rows import Board, CellRow, duration
from fusion_bench.reporting.progress_text import drawn_settings, preparing_text, state_word, summary_line
from fusion_bench.study.cell_status import CellState
from fusion_bench.study.observer import RunClosed, RunEvent, RunPlanned, RunPreparing

_SIGNS: Final[Mapping[CellState, tuple[str, str]]] = {
    "running": ("▶", "bold cyan"),
    "failed": ("✗", "bold red"),
    "stale": ("~", "yellow"),
    "done": ("✓", "green"),
    "missing": ("·", "dim"),
}
_NOTHING = RunPreparing("")
_FRAME_ROWS = 6  # title, head, rules and the two lines below the table


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
            case CellPreparing() | CellStepped():
                self._board.update(event)
            case RunClosed():
                self._preparing = _NOTHING
                if self._live.is_started:
                    self._live.stop()
            case _:
                row = self._board.update(event)
                if isinstance(event, CellStarted):
                    self._preparing = _NOTHING
                # Printed above the table, where a sentence stays readable.
                cell, drawn = row.status.cell, drawn_settings(row)
                name = f"{cell.arm}, seed {cell.seed}{drawn and f' ({drawn})'}"
                if isinstance(event, CellFailed):
                    self._live.console.print(Text(f"✗ {name}: {row.reason}", style="red"))
                elif isinstance(event, CellTold):
                    self._live.console.print(Text(f"{name}: {event.text}"))

    def render(self) -> RenderableType:
        """The table as it stands, no taller than the terminal."""
        rows = list(self._board.rows.values())
        parts: list[RenderableType] = []
        if rows:
            trials = [_trial_line(row) for row in rows if row.state == "running" and row.status.cell.drawn]
            trials = trials[: self._console.height // 4]
            parts += [self._table(rows, len(trials)), Text(summary_line(self._board)), *trials]
        if self._preparing.what:
            # The time goes on where nothing is counted.
            taken = duration(self._clock() - self._since)
            parts.append(Text(f"… {preparing_text(self._preparing)} ({taken})", style="cyan"))
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
                Text(f"{sign} {self._board.silence(row) or state_word(row.state)}{purpose}", style=style),
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


def _trial_line(row: CellRow) -> Text:
    """The settings of a trial on one line, cut at the edge of the screen."""
    cell = row.status.cell
    line = f"▶ {cell.arm}, seed {cell.seed}: {drawn_settings(row)}"
    return Text(line, style="cyan", no_wrap=True, overflow="ellipsis")
