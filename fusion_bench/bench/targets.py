"""One line of the table of speeds: what was to be reached, and what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Line:
    """A quantity with its target.

    Attributes:
        item: what was measured, for example a command.
        quantity: the quantity, for example ``CPU time``.
        target: the value to reach.
        better: the direction: the target is the highest value allowed (``lower``) or the lowest (``higher``).
        measured: the value found on this machine.
        unit: the unit of both values.
    """

    item: str
    quantity: str
    target: float
    better: Literal["lower", "higher"]
    measured: float
    unit: str

    @property
    def reached(self) -> bool:
        """True if the target is reached; False for a value that is not a number."""
        return self.measured <= self.target if self.better == "lower" else self.measured >= self.target

    @property
    def sentence(self) -> str:
        """One line: what was measured, what was to be reached, and whether it was."""
        limit = f"{'at most' if self.better == 'lower' else 'at least'} {self.target:.4g} {self.unit}"
        reached = "reached" if self.reached else "MISSED"
        return f"{self.item}: {self.quantity} {self.measured:.3g} {self.unit}, {limit}: {reached}"

    def loosened(self, factor: float) -> Line:
        """Return the line with a target that is looser by ``factor`` (above 1)."""
        return replace(self, target=self.target * factor if self.better == "lower" else self.target / factor)

    def better_of(self, again: Line) -> Line:
        """Return this line or a second measurement of it, whichever has the better value, NaN being the worst."""
        if math.isnan(self.measured):
            return again
        if self.better == "lower":
            return again if again.measured < self.measured else self
        return again if again.measured > self.measured else self
