"""The order of the arms in every table and figure of a report."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fusion_bench.results.results import StudyResults


def order_of_arms(results: StudyResults, all_means: pd.DataFrame) -> tuple[str, ...]:
    """Return the arms by their mean on the primary metric and split, the best first, then the controls likewise."""
    own = all_means[(all_means["split"] == results.primary_split) & (all_means["metric"] == results.primary)]
    # Means that differ in the last bit only are equal, and keep the order of the study.
    own = own.assign(is_control=own["role"] == "control", estimate=own["estimate"].round(12))
    falling = results.primary in results.lower_is_better
    best_first = own.sort_values(["is_control", "estimate"], ascending=[True, falling], kind="stable")
    return tuple(best_first["arm"])


def best_first(table: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Return the table with the arms of each of its parts (a split, a metric, a slice) in ``order``, others last."""
    keys = [name for name in ("name", "split", "metric", "slice", "value") if name in table]
    part = table.groupby(keys, sort=False, observed=True).ngroup() if keys else 0
    place = {arm: number for number, arm in enumerate(order)}
    positions = pd.DataFrame({"part": part, "place": table["arm"].map(place).fillna(len(place))}, table.index)
    return table.loc[positions.sort_values(["part", "place"], kind="stable").index].reset_index(drop=True)
