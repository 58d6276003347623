"""The order of the arms in every table and figure of a report: that of their differences from the reference.

Among arms that are compared on one set of seeds, this is the order of their means over these seeds. An arm that lacks
one of them stands where its difference from the reference on common seeds puts it, so that no order contradicts a
verdict. Without such a difference, it stands by its mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fusion_bench.results.results import StudyResults


def order_of_arms(results: StudyResults, means: pd.DataFrame, comparisons: pd.DataFrame) -> tuple[str, ...]:
    """Return the arms with a mean on the primary metric and split, the best first, then the controls likewise.

    Args:
        results: the study.
        means: the means on every split and metric, with ``role``.
        comparisons: the differences from the reference on the primary metric and split.
    """
    own = results.on_primary(means)
    estimate = own.set_index("arm")["estimate"]
    place = comparisons.set_index("arm")["estimate"].reindex(estimate.index)
    place = place.fillna(estimate - estimate.get(results.reference, 0.0))
    # Values that differ in the last bit only are equal, and keep the order of the study.
    own = own.assign(is_control=own["role"] == "control", place=place.round(12).to_numpy())
    falling = results.primary in results.lower_is_better
    ordered = own.sort_values(["is_control", "place"], ascending=[True, falling], kind="stable")
    return tuple(ordered["arm"])


def best_first(table: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Return the table with the arms of each of its parts (a split, a metric, a slice) in ``order``, others last."""
    keys = [name for name in ("name", "split", "metric", "slice", "value") if name in table]
    part = table.groupby(keys, sort=False, observed=True).ngroup() if keys else 0
    place = {arm: number for number, arm in enumerate(order)}
    positions = pd.DataFrame({"part": part, "place": table["arm"].map(place).fillna(len(place))}, table.index)
    return table.loc[positions.sort_values(["part", "place"], kind="stable").index].reset_index(drop=True)
