"""Events of a run, one frozen dataclass each, and the observer that is notified of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from fusion_bench.cells.events import CellEvent, CellPreparing, CellStepped
from fusion_bench.study.cell_status import CellStatus


@dataclass(frozen=True)
class RunPlanned:
    """The planned cells are known; sent again, with every cell so far, when a search or a look adds some.

    Attributes:
        cells: the state of each.
        metric: the name of the selection metric.
        selected: its value in the finished cells, by id.
    """

    cells: Sequence[CellStatus]
    metric: str = ""
    selected: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunPreparing:
    """Work before or after the cells ("making data, weights and cached maps").

    Attributes:
        what: the work.
        done: how much of it is done, and ``total``: of how much; 0 of 0 where nothing is counted.
    """

    what: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class RunClosed:
    """The run is over, however it ended; no event follows."""


RunEvent: TypeAlias = RunPlanned | RunPreparing | CellPreparing | CellStepped | CellEvent | RunClosed


class Observer(Protocol):
    """Watches a run: `fusion_bench.study.run` sends it every event, in order, from one thread."""

    def notify(self, event: RunEvent) -> None:
        """Handle an event; must not raise and must return at once, since the run waits for it."""


class SilentObserver:
    """An `Observer` that shows nothing."""

    def notify(self, event: RunEvent) -> None:
        """Ignore the event."""
