"""The state of each cell of a run as its events tell it, for the lines and the table of `progress`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

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
from fusion_bench.study.cell_status import CellState, CellStatus
from fusion_bench.study.observer import RunPlanned

SILENT_SECONDS = 60.0


@dataclass(frozen=True)
class CellRow:
    """A cell as the screen shows it; times are seconds on the observer's clock."""

    status: CellStatus
    state: CellState
    epoch: int = 0
    epochs: int = 0
    metric: str = ""
    value: float | None = None
    reason: str = ""
    began: float | None = None
    ended: float | None = None
    leaves: float | None = None  # when the worker expects to be done
    heard: float | None = None  # when its last event came
    here: bool = False  # trained in this run, so that its duration predicts the others'


@dataclass(frozen=True)
class _Durations:
    """The usual seconds of a cell of each arm that has finished cells, and of any other arm."""

    by_arm: Mapping[str, float]
    otherwise: float | None


class Board:
    """The state of all cells and the estimate of the time left, which both displays share."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.rows: dict[str, CellRow] = {}

    def plan(self, event: RunPlanned) -> None:
        """Take the planned cells; what was seen of a cell trained in this run is kept."""
        seen = {name: row for name, row in self.rows.items() if row.here}
        quantity = f"select/{event.metric}" if event.metric else ""
        self.rows = {
            status.cell.id: seen.get(status.cell.id)
            or CellRow(status, status.state, metric=quantity, value=event.selected.get(status.cell.id))
            for status in event.cells
        }

    def update(self, event: CellEvent | CellPreparing | CellStepped) -> CellRow:
        """Take an event of a cell and return the cell's row as it is now."""
        now = self._clock()
        match event:
            case CellStarted():
                return self._change(
                    event.cell,
                    state="running",
                    began=now,
                    heard=now,
                    ended=None,
                    leaves=None,
                    here=True,
                    epoch=0,
                    reason="",
                )
            case CellProgressed():
                return self._change(
                    event.cell,
                    epoch=event.epoch,
                    epochs=event.epochs,
                    metric=event.quantity,
                    value=event.value,
                    heard=now,
                    leaves=None if event.seconds_left is None else now + event.seconds_left,
                )
            case CellPreparing() | CellTold() | CellStepped():
                return self._change(event.cell, heard=now)
            case CellSilent():
                return self._change(event.cell, heard=now - event.seconds)
            case CellFinished():
                row = self.rows[event.cell]
                # The kept weights are those of the best epoch, which need not be the last one.
                value = event.selection.get(row.metric.removeprefix("select/"), row.value)
                return self._change(event.cell, state="done", ended=now, value=value)
            case CellFailed():
                reason = " ".join(event.reason.split())
                return self._change(event.cell, state="failed", ended=now, reason=reason)

    def count(self, state: CellState) -> int:
        """Return how many cells are in a state."""
        return sum(row.state == state for row in self.rows.values())

    def seconds(self, row: CellRow) -> float | None:
        """How long the cell took, or has been running."""
        if row.began is None:
            return None
        return (row.ended if row.ended is not None else self._clock()) - row.began

    def silence(self, row: CellRow) -> str:
        """How long a running cell has given no sign of life, if that is over a minute: ``silent for 5:00``."""
        if row.state != "running" or row.heard is None:
            return ""
        seconds = self._clock() - row.heard
        return f"silent for {duration(seconds)}" if seconds >= SILENT_SECONDS else ""

    def seconds_left(self, row: CellRow) -> float | None:
        """The worker's own estimate, run down by the clock; else the arm's usual duration; else None."""
        return self._left(row, self._usual_durations())

    def total_seconds_left(self) -> float | None:
        """Work left over workers seen at once, and never less than the longest running cell."""
        usual = self._usual_durations()  # once: a study may have thousands of cells
        now = [self._left(row, usual) for row in self.rows.values() if row.state == "running"]
        left = [self._left(row, usual) for row in self.rows.values() if row.state == "missing"]
        known = [seconds for seconds in (*now, *left) if seconds is not None]
        if not now or len(known) < len(now) + len(left):
            return None
        return max(sum(known) / len(now), *(seconds for seconds in now if seconds is not None))

    def _left(self, row: CellRow, usual: _Durations) -> float | None:
        if row.state not in {"running", "missing"}:
            return 0.0
        if row.leaves is not None:
            return max(0.0, row.leaves - self._clock())
        whole = usual.by_arm.get(row.status.cell.arm, usual.otherwise)
        return None if whole is None else max(0.0, whole - (self.seconds(row) or 0.0))

    def _usual_durations(self) -> _Durations:
        took: dict[str, list[float]] = {}
        expected = []
        for row in self.rows.values():
            if row.began is None:
                continue
            if row.here and row.state == "done" and row.ended is not None:
                took.setdefault(row.status.cell.arm, []).append(row.ended - row.began)
            if row.state == "running" and row.leaves is not None:
                expected.append(row.leaves - row.began)
        # Until a cell has finished, what the running cells expect in all is the best guess for the others.
        pool = [seconds for seen in took.values() for seconds in seen] or expected
        return _Durations({arm: fmean(seen) for arm, seen in took.items()}, fmean(pool) if pool else None)

    def _change(self, cell: str, **changes: object) -> CellRow:
        self.rows[cell] = replace(self.rows[cell], **changes)  # type: ignore[arg-type]
        return self.rows[cell]


def duration(seconds: float | None) -> str:
    """``75`` -> ``1:15``, ``3675`` -> ``1:01:15``; nothing for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
