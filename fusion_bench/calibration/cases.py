"""One case of the calibration: studies of one shape, what the statistics promise for them, and a verdict."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import numpy as np

from fusion_bench.calibration.answers import answered_study
from fusion_bench.calibration.sums import rates_of_sums
from fusion_bench.statistics.simulation import Rates, StudyShape, error_rates
from fusion_bench.storage import canonical

DrawnAs: TypeAlias = Literal["sums", "cells", "answers"]
"""How studies are drawn: the sums that the statistics need, every cell and cluster, or every answer."""

BoundState: TypeAlias = Literal["holds", "holds within error", "fails"]
"""A rate is on the right side of its bound, beyond it by at most two Monte-Carlo errors, or by more."""


@dataclass(frozen=True)
class Bound:
    """The least or greatest value that a rate is promised to have.

    Attributes:
        rate: a field of `fusion_bench.statistics.simulation.Rates`; its Monte-Carlo error is ``RATE_error``.
        limit: the bound.
        least: True if the rate is promised to be at least ``limit``, False if at most.
    """

    rate: str
    limit: float
    least: bool

    def held_by(self, rates: Rates) -> BoundState:
        """Return whether the rate keeps its bound."""
        beyond = (self.limit - getattr(rates, self.rate)) * (1 if self.least else -1)
        if beyond <= 0:
            return "holds"
        return "holds within error" if beyond <= 2 * getattr(rates, f"{self.rate}_error") else "fails"


FEWEST_FOR_TAIL = 5
"""The fewest comparisons for which the tail is promised: fewer arms tell too little about each other's scatter."""

BOUNDS = (
    Bound("coverage", 0.93, least=True),
    Bound("worst_coverage", 0.92, least=True),
    Bound("family_error", 0.055, least=False),
    Bound("tail", 1.3, least=False),
)
"""What studies without effects are promised; the tail, which is last, from `FEWEST_FOR_TAIL` comparisons on."""


@dataclass(frozen=True)
class Case:
    """Simulated studies of one shape.

    Attributes:
        shape: the shape, in points (hundredths).
        effect: the true difference of every arm from the reference, in points.
        drawn: how the studies are drawn.
    """

    shape: StudyShape
    effect: float = 0.0
    drawn: DrawnAs = "sums"

    def key(self) -> str:
        """Return a name that equal cases share, from all that they are drawn by."""
        return hashlib.sha256(canonical(asdict(self)).encode()).hexdigest()[:16]

    def comparisons(self) -> int:
        """Return the number of comparisons of the family."""
        return self.shape.arms - 1

    def bounds(self) -> tuple[Bound, ...]:
        """Return what is promised; nothing is where there are effects, for then only the power is asked.

        The tail is promised from `FEWEST_FOR_TAIL` comparisons on.
        """
        if self.effect:
            return ()
        return BOUNDS if self.comparisons() >= FEWEST_FOR_TAIL else BOUNDS[:-1]

    def studies(self, asked: int) -> int:
        """Return the number of studies: what is drawn number by number takes as long as 20 times as many sums."""
        return asked if self.drawn == "sums" else max(20, asked // 20)

    def run(self, studies: int) -> Rates:
        """Return how often the statistics are right in ``studies`` studies; the same for the same case."""
        effects = np.full(self.comparisons(), self.effect)
        generator = np.random.default_rng(int(self.key(), 16))
        if self.drawn == "sums":
            return rates_of_sums(self.shape, effects, studies, generator)
        if self.drawn == "cells":
            return error_rates(self.shape, effects, studies, generator)
        return error_rates(self.shape, effects, studies, generator, answered_study)


@dataclass(frozen=True)
class CaseResult:
    """The rates of a case."""

    case: Case
    rates: Rates

    def broken(self) -> tuple[Bound, ...]:
        """Return the bounds that the case fails."""
        return tuple(promise for promise in self.case.bounds() if promise.held_by(self.rates) == "fails")

    def held(self) -> BoundState | Literal[""]:
        """Return the worst verdict over the bounds; empty where nothing is promised."""
        verdicts = [promise.held_by(self.rates) for promise in self.case.bounds()]
        order: tuple[BoundState, ...] = ("fails", "holds within error", "holds")
        return next((verdict for verdict in order if verdict in verdicts), "")

    def row(self) -> dict[str, str | float | int | None]:
        """Return the case, its rates and its verdict as one row of a tidy table."""
        rates = {name: None if math.isnan(value) else value for name, value in asdict(self.rates).items()}
        shape = asdict(self.case.shape)
        return {
            **shape,
            "effect": self.case.effect,
            "drawn": self.case.drawn,
            **rates,
            "held": self.held(),
            "fails": " ".join(promise.rate for promise in self.broken()),
        }
