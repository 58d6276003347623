"""The comparisons of a study with looks: each arm stands with the look that decided it, or with its last one.

Controls and arms outside the budget have the seeds of the first look, and leads over controls, ranks and agreements
of contexts are computed on these alone: their number depends on no result (`fusion_bench.statistics.sequential`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from fusion_bench.statistics.comparison import ALPHA, Question, compare
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.sequential import Stages, TakenLook, cells_of_look, look_table, seeds_of_look

LEVEL = 1 - ALPHA
"""The level of the intervals that no look decides about."""


def compared(influences: Influences, question: Question, stages: Stages | None) -> pd.DataFrame:
    """Return the comparisons of a study with their verdicts (`fusion_bench.statistics.comparison.compare`).

    Args:
        influences: the finished cells on the primary metric and split.
        question: the comparisons.
        stages: the looks of the study; None without looks.

    Returns:
        The columns of `compare`; ``look``: the look that the row is of, from 1, and 0 for a row of none; ``level``:
        that of its interval. An arm that had a part in no look has no verdict.
    """
    if stages is None:
        return compare(influences, question).assign(look=0, level=LEVEL)
    rows = _last_rows(influences, question, stages, look_table)
    unasked = rows["verdict"].where(~((rows["look"] == 0) & rows["arm"].isin(question.family)), "no verdict")
    none = rows["look"] == 0
    columns = ["p_holm", "p_margin_holm", "detectable"]
    rows[columns] = rows[columns].mask(none, np.nan)
    levels = {number: 1 - look.alpha for number, look in enumerate(stages.taken, 1)}
    return rows.assign(verdict=unasked, level=rows["look"].map(levels).fillna(LEVEL))


def compared_without_verdict(
    influences: Influences, question: Question, stages: Stages | None
) -> pd.DataFrame:
    """Return the differences on another metric or split, on the cells of `compared`, with 95 % intervals."""
    if stages is None:
        return compare(influences, question)

    def table(cells: Influences, asked: Question, look: TakenLook) -> pd.DataFrame:
        return compare(cells_of_look(cells, asked.reference, look), Question(asked.reference, look.arms))

    return _last_rows(influences, question, stages, table)


def first_seeds(influences: Influences, stages: Stages | None) -> Influences:
    """Return the cells of the first look; all of them in a study without looks."""
    if stages is None:
        return influences
    most = stages.planned[0].seeds
    return influences.restricted(influences.arms, [seed for seed in influences.seeds if seed < most])


def staged_seeds(influences: Influences, question: Question, stages: Stages) -> dict[str, frozenset[int]]:
    """Return the seeds that the comparison with the reference uses, of each arm and control with a result."""
    found = {}
    first = stages.planned[0].seeds
    last = max([first, *(look.seeds for look in stages.taken)])
    for arm in influences.arms:
        number = stages.last_look(arm)
        count = last if arm == question.reference else stages.taken[number - 1].seeds if number else first
        used = influences.seeds_of(arm) & (
            seeds_of_look(influences, question.reference, count)
            if number
            else np.array(influences.seeds, dtype=np.int64) < count
        )
        if used.any():
            found[arm] = frozenset(np.array(influences.seeds, dtype=np.int64)[used].tolist())
    return found


def look_comparisons(influences: Influences, question: Question, stages: Stages | None) -> pd.DataFrame:
    """Return the comparisons of every look that was taken: ``look`` (from 1) and the columns of `compare`."""
    parts = (
        []
        if stages is None
        else [
            _numbered(look_table, influences, question, stages, number)
            for number in range(1, len(stages.taken) + 1)
        ]
    )
    if not parts:
        return compare(first_seeds(influences, stages), question).iloc[:0].assign(look=0)
    return pd.concat(parts, ignore_index=True)


def looks_table(influences: Influences, question: Question, stages: Stages | None) -> pd.DataFrame:
    """Return one row per planned look: what it spends, and what it found.

    Returns:
        ``look`` (from 1), ``seeds``, ``alpha``; ``state``: ``taken``, ``next`` or ``not needed``; ``open_before``,
        ``open_after`` and ``left_out``: labels of arms; the numbers of arms that it found ``better``, ``worse`` and
        ``equivalent``; ``prior_degrees`` and ``prior_variance`` of its seed variances, NaN without a pool.
    """
    rows: list[dict[str, Any]] = []
    for number, look in enumerate(() if stages is None else stages.planned, 1):
        assert stages is not None  # noqa: S101 - there is a look
        row: dict[str, Any] = {"look": number, "seeds": look.seeds, "alpha": look.alpha}
        if number <= len(stages.taken):
            taken, table = (
                stages.taken[number - 1],
                _numbered(look_table, influences, question, stages, number),
            )
            tally = table["verdict"].value_counts()
            row |= {"state": "taken", "open_before": (*taken.arms, *taken.left_out), "open_after": taken.open}
            row |= {"left_out": taken.left_out}
            row |= {name: int(tally.get(name, 0)) for name in ("better", "worse", "equivalent")}
            row |= {name: table.attrs.get(name, np.nan) for name in ("prior_degrees", "prior_variance")}
        else:
            coming = stages.next(question.family)
            is_next = coming == look
            open_arms = stages.open_arms(question.family) if is_next else ()
            row |= {"state": "next" if is_next else "not needed" if coming is None else "later"}
            row |= {"open_before": open_arms, "open_after": (), "left_out": ()}
            row |= dict.fromkeys(("better", "worse", "equivalent"), 0)
            row |= dict.fromkeys(("prior_degrees", "prior_variance"), np.nan)
        rows.append(row)
    columns = ["look", "seeds", "alpha", "state", "open_before", "open_after", "left_out"]
    columns += ["better", "worse", "equivalent", "prior_degrees", "prior_variance"]
    return pd.DataFrame(rows, columns=columns)


LookTable = Callable[[Influences, Question, TakenLook], pd.DataFrame]


def _numbered(
    table: LookTable, influences: Influences, question: Question, stages: Stages, number: int
) -> pd.DataFrame:
    return table(influences, question, stages.taken[number - 1]).assign(look=number)


def _last_rows(influences: Influences, question: Question, stages: Stages, table: LookTable) -> pd.DataFrame:
    """Return the row of each arm of the family at its last look, and of every other arm at the first seeds."""
    everyone = compare(first_seeds(influences, stages), question).assign(look=0)
    parts = []
    for number in range(1, len(stages.taken) + 1):
        rows = _numbered(table, influences, question, stages, number)
        own = [stages.last_look(arm) == number for arm in rows["arm"]]
        parts.append(rows.loc[np.array(own, dtype=bool)])
    in_looks = {arm for part in parts for arm in part["arm"]}
    found = pd.concat([everyone[~everyone["arm"].isin(in_looks)], *parts], ignore_index=True)
    place = {arm: number for number, arm in enumerate((*question.arms(), *question.controls))}
    ordered = found.sort_values("arm", key=lambda arms: arms.map(place), kind="stable")
    return ordered.reset_index(drop=True)
