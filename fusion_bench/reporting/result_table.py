"""The answer of a report in short, for the terminal: one row per arm, the best first."""

from __future__ import annotations

import numpy as np
from rich.table import Column, Table
from rich.text import Text

from fusion_bench.reporting.tables.formatting import DASH, percent, percent_range, points, points_range
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import ArmSummary, StudyResults


def result_table(results: StudyResults, tables: Tables) -> Table:
    """Return one row per arm, on the primary metric and split; every number is one of the report's.

    Arms come first, in the order of the report's answer, then controls, then what has no result.

    Args:
        results: the study.
        tables: the report's own tables.
    """
    means = {row["arm"]: row for row in records(results.on_primary(tables.means))}
    differences = {row["arm"]: row for row in records(tables.comparisons)}
    table = Table(
        Column("arm", overflow="fold"),
        Column(Text(f"{results.primary_split} {results.primary}, %"), justify="right"),
        Column("95 % interval", justify="right"),
        Column("difference, points", justify="right"),
        Column("verdict"),
        Column("ties"),
        box=None,
    )
    place = {label: number for number, label in enumerate(tables.order)}
    for arm in sorted(results.arms, key=lambda arm: place.get(arm.label, len(place))):
        mean, difference = means.get(arm.label), differences.get(arm.label)
        table.add_row(
            Text(arm.label),
            DASH if mean is None else percent(mean["estimate"]),
            DASH if mean is None else percent_range(mean["low"], mean["high"]),
            _difference(difference),
            "no result" if mean is None else _verdict(arm, difference),
            tables.ties.of(arm.label) or DASH,
        )
    return table


def _difference(row: Row | None) -> str:
    if row is None or np.isnan(row["estimate"]):
        return DASH
    interval = "" if np.isnan(row["low"]) else f" ({points_range(row['low'], row['high'])})"
    return points(row["estimate"]) + interval


def _verdict(arm: ArmSummary, row: Row | None) -> str:
    if arm.role == "reference":
        return "reference"
    if row is not None and row["verdict"]:
        return str(row["verdict"])
    return "control" if arm.role == "control" else "not ranked"
