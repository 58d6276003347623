"""One case of the calibration: studies of one shape, what the statistics promise for them, and a verdict."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np

from fusion_bench.calibration.answers import answered_study
from fusion_bench.calibration.families import control_rates, tie_rates, verdict_rates
from fusion_bench.statistics.rates import Rates
from fusion_bench.statistics.simulation import StudyShape, error_rates, look_rates
from fusion_bench.storage import canonical

DrawnAs: TypeAlias = Literal["sums", "cells", "answers"]
"""How studies are drawn: the sums that the statistics need, every cell and cluster, or every answer."""

Asked: TypeAlias = Literal["verdicts", "controls", "ties", "looks"]
"""The tests of a report that a case is about: verdicts (at once, or at looks), leads over controls, or tie groups."""

BoundState: TypeAlias = Literal["holds", "holds within error", "fails"]
"""A rate is on the right side of its bound, beyond it by at most two Monte-Carlo errors, or by more."""


@dataclass(frozen=True)
class Bound:
    """The least or greatest value that a rate is promised to have.

    Attributes:
        rate: a field of `fusion_bench.statistics.rates.Rates`; its Monte-Carlo error is ``RATE_error``.
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

_COVERAGE = (Bound("coverage", 0.93, least=True), Bound("worst_coverage", 0.92, least=True))
_FAMILY, _TAIL = Bound("family_error", 0.055, least=False), Bound("tail", 1.3, least=False)

BOUNDS: Mapping[Asked, tuple[Bound, ...]] = MappingProxyType(
    {
        "verdicts": (*_COVERAGE, _FAMILY, _TAIL),
        "controls": (*_COVERAGE, Bound("family_error", 0.0275, least=False), _TAIL),
        "ties": (_FAMILY, _TAIL),
        "looks": (_FAMILY,),
    }
)
"""The bounds of studies without effects; that of the tail from `FEWEST_FOR_TAIL` comparisons on.

Leads over controls are tested on one side at half the level, so their family-wise error has half the bound.
"""


@dataclass(frozen=True)
class Case:
    """Simulated studies of one shape.

    Attributes:
        shape: the shape, in points (hundredths).
        effect: the true difference of every arm from the reference, in points; for controls, the lead of every arm
            over the best control; for tie groups, that of all other arms from the first.
        drawn: how the studies are drawn.
        asked: the tests that the case is about; only verdicts are drawn otherwise than as sums.
        looks: the numbers of seeds of the looks, the last one that of the shape; empty for tests without looks.
    """

    shape: StudyShape
    effect: float = 0.0
    drawn: DrawnAs = "sums"
    asked: Asked = "verdicts"
    looks: tuple[int, ...] = ()

    def key(self) -> str:
        """Return a name that equal cases share, from all that they are drawn by."""
        drawn_by = asdict(self)
        if self.asked == "verdicts":  # no control is drawn
            del drawn_by["asked"], drawn_by["shape"]["controls"], drawn_by["shape"]["control_variance"]
        if not self.looks:
            del drawn_by["looks"]
        return hashlib.sha256(canonical(drawn_by).encode()).hexdigest()[:16]

    def comparisons(self) -> int:
        """Return the number of tests of the family."""
        arms = self.shape.arms
        return {"verdicts": arms - 1, "controls": arms, "ties": arms * (arms - 1) // 2, "looks": arms - 1}[
            self.asked
        ]

    def bounds(self) -> tuple[Bound, ...]:
        """Return what is promised; nothing is where there are effects, for then only the power is asked.

        The tail is promised from `FEWEST_FOR_TAIL` comparisons on.
        """
        if self.effect:
            return ()
        bounds = BOUNDS[self.asked]
        if self.comparisons() >= FEWEST_FOR_TAIL:
            return bounds
        return tuple(promise for promise in bounds if promise.rate != "tail")

    def studies(self, asked: int) -> int:
        """Return the number of studies: fewer where each takes longer, number by number or over all pairs."""
        if self.drawn != "sums":
            return max(20, asked // 20)
        return max(20, asked // 5) if self.asked == "ties" else asked

    def run(self, studies: int) -> Rates:
        """Return how often the statistics are right in ``studies`` studies; the same for the same case."""
        generator = np.random.default_rng(int(self.key(), 16))
        if self.asked == "controls":
            return control_rates(self.shape, self.effect, studies, generator)
        if self.asked == "ties":
            return tie_rates(self.shape, self.effect, studies, generator)
        effects = np.full(self.comparisons(), self.effect)
        if self.asked == "looks":
            return look_rates(self.shape, effects, self.looks, studies, generator)
        if self.drawn == "sums":
            return verdict_rates(self.shape, effects, studies, generator)
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
            "asked": self.case.asked,
            **rates,
            "held": self.held(),
            "fails": " ".join(promise.rate for promise in self.broken()),
        }
