"""The arms by their primary metric and each of their costs: what the charts of costs show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_bench.reporting.tables.formatting import count, milliseconds
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import StudyResults

WIDE_RANGE = 3.0
"""The ratio of costs beyond which their axis is logarithmic."""


@dataclass(frozen=True, eq=False)
class CostOfArms:
    """One cost of the arms; controls are left out.

    Attributes:
        name: what is counted, with its unit.
        rows: the rows of `Tables.means` on the primary metric and split of the arms with this cost, the best first.
        amounts: label of each of these arms -> its cost, above zero.
        front: their Pareto front (`pareto_front`), the cheapest first.
        write: writes an amount.
    """

    name: str
    rows: tuple[Row, ...]
    amounts: Mapping[str, float]
    front: tuple[str, ...]
    write: Callable[[float], str]

    @property
    def wide(self) -> bool:
        """Whether the costs are so far apart that their axis is logarithmic."""
        return max(self.amounts.values()) / min(self.amounts.values()) > WIDE_RANGE

    def named(self, reference: str, most: int) -> tuple[str, ...]:
        """Return the arms whose names a chart has room for: front and reference, then the best, up to ``most``."""
        own = [row["arm"] for row in self.rows]
        wanted = dict.fromkeys([*self.front, reference, *own])
        always = len({*self.front, reference})
        return tuple([arm for arm in wanted if arm in self.amounts][: max(most, always)])


def arm_costs(results: StudyResults, tables: Tables) -> tuple[CostOfArms, ...]:
    """Return parameters, multiply-adds and milliseconds of the arms, without those that no arm has."""
    means = [row for row in records(results.on_primary(tables.means)) if row["role"] != "control"]
    batch = f" of {results.latency_batch}" if results.latency_batch else ""
    amounts: tuple[tuple[str, Callable[[float], str], dict[str, float | None]], ...] = (
        (
            "parameters of modules and adapters",
            count,
            {arm.label: arm.fusion_parameters for arm in results.arms},
        ),
        (
            "multiply-adds of a sample, modules and adapters",
            count,
            {arm.label: arm.fusion_multiply_adds for arm in results.arms},
        ),
        (
            f"milliseconds of a batch{batch}",
            milliseconds,
            {arm.label: arm.latency_ms for arm in results.arms},
        ),
    )
    falling = results.primary in results.lower_is_better
    found = []
    for name, write, of in amounts:
        rows = tuple(row for row in means if of.get(row["arm"]))
        own = {row["arm"]: float(of[row["arm"]] or 0.0) for row in rows}
        if rows:
            front = tuple(pareto_front(rows, own, falling=falling))
            found.append(CostOfArms(name, rows, own, front, write))
    return tuple(found)


def pareto_front(rows: Sequence[Row], cost: Mapping[str, float], *, falling: bool = False) -> list[str]:
    """Return the arms that no other arm beats in both: at most the cost, and a better metric or the same at less.

    Args:
        rows: ``arm, estimate``.
        cost: by arm.
        falling: whether a smaller metric is better.
    """
    sign = -1.0 if falling else 1.0
    front: list[str] = []
    best = -np.inf
    for row in sorted(rows, key=lambda row: (cost[row["arm"]], -sign * row["estimate"])):
        if sign * row["estimate"] > best:
            best = sign * row["estimate"]
            front.append(row["arm"])
    return front
