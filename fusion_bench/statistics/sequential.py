"""Seeds in stages: after each stage the arms that are decided stop, and the others and the reference go on.

Looking after every stage at 5 % errs in more than 5 % of studies. Here each look spends a part of the 5 %, in
proportion to the seeds that it adds: ``alpha_k = .05 (S_k - S_{k-1}) / S_max``. Holm's procedure at ``alpha_k`` runs
over the arms that are undecided at look ``k``. Before a first false rejection all arms without an effect are
undecided, so the chance of one is at most the sum of ``alpha_k``, whatever the dependence between looks. Differences
and equivalences are two families, and each spends 5 % in this way.

The looks must be planned before the first one. The interval of an arm that stopped has the level ``1 - alpha_k`` of
its look. An arm stops where its difference happens to be large, so the estimate of a stopped arm exaggerates.

**Cells without a result.** A look is at the seeds of its number that the reference has finished, at least
`fusion_bench.statistics.comparison.FEWEST_SEEDS`. An arm that lacks one of them has no part in it, nor in a later
one: it gets no verdict, and the others are corrected without it. What decides about that is whether a training ended,
not what it scored.

**Controls, and arms outside the budget,** are no comparisons of the family. They have the seeds of the first look,
whose number depends on no result, and so do the leads over controls: a lead on seeds that another result chose would
be in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fusion_bench.statistics.comparison import ALPHA, FEWEST_SEEDS, Question, compare
from fusion_bench.statistics.influence import BoolArray, Influences


@dataclass(frozen=True)
class Look:
    """A planned look: the number of seeds of each open arm, and the part of the 5 % that it spends.

    A look at ``S`` seeds is one at the seeds ``0 .. S-1``.
    """

    seeds: int
    alpha: float


@dataclass(frozen=True)
class TakenLook:
    """A look that was taken.

    Attributes:
        seeds, alpha: those of the planned look.
        arms: the arms that were compared, which were open before it.
        open: those of them that go on.
        left_out: the arms that were open before it and lack one of its seeds; they do not go on.
    """

    seeds: int
    alpha: float
    arms: tuple[str, ...]
    open: tuple[str, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stages:
    """The looks of a study.

    Attributes:
        planned: all of them.
        taken: those that were taken.
    """

    planned: tuple[Look, ...]
    taken: tuple[TakenLook, ...] = ()

    def open_arms(self, family: tuple[str, ...]) -> tuple[str, ...]:
        """Return the arms of the family that go on; all of them before the first look."""
        return self.taken[-1].open if self.taken else family

    def next(self, family: tuple[str, ...]) -> Look | None:
        """Return the look that comes next; None where no arm is open or every look is taken."""
        later = self.planned[len(self.taken) :]
        return later[0] if later and self.open_arms(family) else None

    def seeds_of(self, arm: str, question: Question) -> int:
        """Return how many seeds an arm or control has been asked for so far."""
        family = question.family
        following = self.next(family)
        going_on = () if following is None else (question.reference, *self.open_arms(family))
        if following is not None and arm in going_on:
            return following.seeds
        own = [look.seeds for look in self.taken if arm in (question.reference, *look.arms, *look.left_out)]
        return max([self.planned[0].seeds, *own])

    def last_look(self, arm: str) -> int:
        """Return the number of the last look that an arm of the family had a part in, from 1; 0 if there is none."""
        return max((number for number, look in enumerate(self.taken, 1) if arm in look.arms), default=0)


def planned_looks(seeds: Collection[int] = (3, 5, 8, 12), alpha: float = ALPHA) -> tuple[Look, ...]:
    """Return the looks after these numbers of seeds, with their spending; the parts sum to ``alpha``.

    Raises:
        ValueError: the numbers do not rise, or the first one is too small for a verdict.
    """
    steps = np.diff([0, *seeds])
    if len(steps) == 0 or (steps <= 0).any() or steps[0] < FEWEST_SEEDS:
        raise ValueError(f"looks must rise from at least {FEWEST_SEEDS} seeds, and are {tuple(seeds)}")
    most = int(steps.sum())
    return tuple(Look(number, alpha * int(step) / most) for number, step in zip(seeds, steps, strict=True))


InfluencesAt = Callable[[Look, tuple[str, ...]], Influences | None]
"""Returns the finished cells of a look at these open arms; None while one of its cells has not ended."""


def take_looks(question: Question, planned: tuple[Look, ...], finished: InfluencesAt) -> Stages:
    """Take the looks one after the other, as long as arms are open and the cells of the next look have ended.

    Args:
        question: the comparisons.
        planned: all looks.
        finished: returns the cells of a look.

    Returns:
        The looks that were taken. They depend on the finished cells alone.
    """
    stages = Stages(planned)
    while (look := stages.next(question.family)) is not None:
        undecided = stages.open_arms(question.family)
        influences = finished(look, undecided)
        taken = None if influences is None else _taken(influences, question, look, undecided)
        if taken is None:
            break
        stages = replace(stages, taken=(*stages.taken, taken))
    return stages


def _taken(
    influences: Influences, question: Question, look: Look, undecided: tuple[str, ...]
) -> TakenLook | None:
    """Return a look at the finished cells; None where the reference has too few of its seeds."""
    seeds = seeds_of_look(influences, question.reference, look.seeds)
    if seeds.sum() < FEWEST_SEEDS:
        return None
    arms = tuple(arm for arm in undecided if not (seeds & ~influences.seeds_of(arm)).any())
    table = look_table(influences, question, TakenLook(look.seeds, look.alpha, arms, ()))
    # "No verdict" is that of a single cluster here, which further seeds do not change.
    is_open = set(table["arm"][table["verdict"] == "underpowered"])
    left_out = tuple(arm for arm in undecided if arm not in arms)
    return TakenLook(look.seeds, look.alpha, arms, tuple(arm for arm in arms if arm in is_open), left_out)


def seeds_of_look(influences: Influences, reference: str, seeds: int) -> BoolArray:
    """Return a mask ``[S]`` of those of the first ``seeds`` seeds that the reference has finished."""
    return influences.seeds_of(reference) & (np.array(influences.seeds, dtype=np.int64) < seeds)


def look_table(influences: Influences, question: Question, look: TakenLook) -> pd.DataFrame:
    """Return the comparisons of a look (`fusion_bench.statistics.comparison.compare`) at its level.

    The pool of seed variances is the reference and the arms of the look. An arm that is still open has the verdict
    ``underpowered``.
    """
    asked = Question(question.reference, look.arms, (), (), question.margin, question.higher_is_better)
    return compare(cells_of_look(influences, question.reference, look), asked, look.alpha)


def cells_of_look(influences: Influences, reference: str, look: TakenLook) -> Influences:
    """Return the cells that a look compares: its arms and the reference, on its seeds."""
    seeds = np.array(influences.seeds)[seeds_of_look(influences, reference, look.seeds)].tolist()
    return influences.restricted([reference, *look.arms], seeds)
