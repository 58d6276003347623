"""A study with many arms, made from one with few."""

from __future__ import annotations

import dataclasses

import pandas as pd

from fusion_bench.results.results import StudyResults


def with_more_arms(results: StudyResults, arms: int, like: str = "film") -> StudyResults:
    """Return the study with so many arms and controls: further arms have the numbers of ``like`` and other costs."""
    first = next(arm for arm in results.arms if arm.label == like)
    added = [
        dataclasses.replace(
            first,
            label=f"{like}_{number}",
            fusion_parameters=(first.fusion_parameters or 1) * (number + 2),
            latency_ms=(first.latency_ms or 1.0) + number,
        )
        for number in range(arms - len(results.arms))
    ]

    def grown(table: pd.DataFrame) -> pd.DataFrame:
        own = table[table["arm"] == like]
        return pd.concat([table, *(own.assign(arm=arm.label) for arm in added)], ignore_index=True)

    tables = {name: grown(getattr(results, name)) for name in ("cells", "values", "samples", "curves")}
    return dataclasses.replace(results, arms=(*results.arms, *added), **tables)
