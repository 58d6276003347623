"""Who watches a run: `study/run.py` tells an `Observer` what happens, which shows it on the screen, say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

ObservedState = Literal["waiting", "running", "done", "failed", "stale"]


@dataclass(frozen=True)
class PlannedStatus:
    """One planned cell as an observer first hears of it.

    Attributes:
        cell: its id.
        arm: the arm's label.
        seed: the seed.
        state: where it stands: only ``waiting`` and ``running`` cells have work left in this run.
        purpose: what it is trained for: ``confirm`` (the study's own seeds) or ``search``.
    """

    cell: str
    arm: str
    seed: int
    state: ObservedState
    purpose: str


class Observer(Protocol):
    """Hears of every event of a run, in order, from one thread; it must not raise and never slows a cell."""

    def planned(self, cells: Sequence[PlannedStatus]) -> None:
        """The plan stands; called again, with every cell so far, when a search adds some."""

    def preparing(self, what: str) -> None:
        """Work before the first cell has begun ("making miniclevr", "training the pretext backbone")."""

    def started(self, cell: str) -> None:
        """A worker has taken the cell."""

    def progressed(
        self, cell: str, epoch: int, epochs: int, quantity: str, value: float, *, seconds_left: float | None
    ) -> None:
        """``epoch`` of ``epochs`` is over; ``quantity`` (``select/accuracy``) now has this value.

        ``seconds_left`` is the worker's estimate for the rest of the cell; None if it has none yet.
        """

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """The cell is done; ``metrics`` are its final values by split and name (``test/accuracy``)."""

    def failed(self, cell: str, reason: str) -> None:
        """The cell failed; the study goes on."""

    def closed(self) -> None:
        """The run is over, however it ended; nothing is called afterwards."""


class Silent:
    """An `Observer` that says nothing."""

    def planned(self, cells: Sequence[PlannedStatus]) -> None:
        """Say nothing."""

    def preparing(self, what: str) -> None:
        """Say nothing."""

    def started(self, cell: str) -> None:
        """Say nothing."""

    def progressed(
        self, cell: str, epoch: int, epochs: int, quantity: str, value: float, *, seconds_left: float | None
    ) -> None:
        """Say nothing."""

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """Say nothing."""

    def failed(self, cell: str, reason: str) -> None:
        """Say nothing."""

    def closed(self) -> None:
        """Say nothing."""
