"""Seeds in stages: after each stage the arms that are decided stop, and the others and the reference go on.

Looking after every stage at 5 % errs in more than 5 % of studies. Here each look spends a part of the 5 %, in
proportion to the seeds that it adds: ``alpha_k = .05 (S_k - S_{k-1}) / S_max``. Holm's procedure at ``alpha_k`` runs
over the arms that are undecided at look ``k``. Before a first false rejection all arms without an effect are
undecided, so the chance of one is at most the sum of ``alpha_k``, whatever the dependence between looks. Differences
and equivalences are two families, and each spends 5 % in this way.

The looks must be planned before the first one. The interval of an arm that stopped has the level ``1 - alpha_k`` of
its look. An arm stops where its difference happens to be large, so the estimate of a stopped arm exaggerates.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fusion_bench.statistics.comparison import ALPHA, FEWEST_SEEDS, Question, compare
from fusion_bench.statistics.estimate import Estimate
from fusion_bench.statistics.influence import Influences

UNDECIDED = ""
"""The verdict of an arm that goes on."""

VERDICT_COLUMNS = (
    "arm",
    "verdict",
    "look",
    "seeds",
    "alpha",
    "estimate",
    "low",
    "high",
    "p_holm",
    "p_margin_holm",
)


@dataclass(frozen=True)
class Look:
    """A planned look: the number of seeds of each open arm, and the part of the 5 % that it spends."""

    seeds: int
    alpha: float


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


def look_at(influences: Influences, question: Question, looks: tuple[Look, ...], number: int) -> pd.DataFrame:
    """Return the verdicts at one look.

    Args:
        influences: the finished cells; of them, the first ``looks[number].seeds`` seeds are read.
        question: the comparisons; ``family`` holds the arms that were undecided before this look. Only they and the
            reference are in the pool of seed variances.
        looks: all planned looks.
        number: the look, from 0.

    Returns:
        One row per undecided arm that shares a finished seed with the reference, with `VERDICT_COLUMNS`. ``verdict``
        is ``better``, ``worse`` or ``equivalent``, or `UNDECIDED`; ``look`` counts from 1; ``low`` and ``high`` have
        the level ``1 - alpha``.
    """
    look = looks[number]
    chosen = [arm for arm in influences.arms if arm == question.reference or arm in question.family]
    asked = replace(question, unranked=(), controls=())
    table = compare(influences.restricted(chosen, influences.seeds[: look.seeds]), asked)
    mean, error, degrees = (
        table[name].to_numpy(dtype=np.float64) for name in ("estimate", "standard_error", "degrees")
    )
    estimate = Estimate(mean, error, degrees, influences.possible_difference())
    low, high = estimate.interval(1 - look.alpha)
    gain = estimate.mean * (1 if question.higher_is_better else -1)
    verdict = np.select(
        [table["p_margin_holm"] < look.alpha, ~(table["p_holm"] < look.alpha), gain > 0],
        ["equivalent", UNDECIDED, "better"],
        "worse",
    )
    table = table.assign(verdict=verdict, look=number + 1, alpha=look.alpha, low=low, high=high)
    return table[list(VERDICT_COLUMNS)]


def decide_in_stages(influences: Influences, question: Question, looks: tuple[Look, ...]) -> pd.DataFrame:
    """Return the verdicts of all looks whose seeds the reference and at least one open arm have finished.

    Returns:
        One row per arm of the family, in its order, with `VERDICT_COLUMNS`: its row at the look that decided it, or
        at the last look that it took part in. An arm that took part in none is left out.
    """
    last: dict[str, dict[Hashable, Any]] = {}
    undecided = question.family
    for number, look in enumerate(looks):
        seeds = influences.seeds[: look.seeds]
        reached = influences.restricted(influences.arms, seeds)
        ready = tuple(
            arm for arm in undecided if reached.seeds_of(arm, question.reference).sum() == look.seeds
        )
        if not ready:
            break
        table = look_at(influences, replace(question, family=ready), looks, number)
        last |= {str(row["arm"]): row for row in table.to_dict("records")}
        undecided = tuple(arm for arm in undecided if arm not in last or last[arm]["verdict"] == UNDECIDED)
    rows = [last[arm] for arm in question.family if arm in last]
    return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))
