"""Sentences on the arms against controls and against floors."""

from __future__ import annotations

import numpy as np

from fusion_bench.reporting.report.interval_text import MANY_ROWS, difference_text, range_text, shown_better
from fusion_bench.reporting.tables.formatting import join_words, percent, plural, points, unsigned_points
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import FEWEST_SEEDS


def control_sentences(tables: Tables) -> list[str]:
    """Return a sentence for each arm that is not shown to beat a control, or one sentence if all arms are."""
    rows = records(tables.controls)
    if not rows:
        return []
    behind = [row for row in rows if not _beats(row)]
    if len({row["arm"] for row in behind}) > MANY_ROWS:
        return _by_control(behind)
    sentences = []
    for arm in dict.fromkeys(row["arm"] for row in behind):
        own = [row for row in behind if row["arm"] == arm]
        differences = [
            f"{code(row['control'])} {difference_text(row)} on {plural(row['seeds'], 'seed')}" for row in own
        ]
        which = "a control" if len(own) == 1 else "its controls"
        sentences.append(
            f"**{code(arm)} is not shown to beat {which}**: difference from {join_words(differences)}."
        )
    return sentences or [_all_beat(rows)]


def _all_beat(rows: list[Row]) -> str:
    nearest = min(rows, key=lambda row: abs(row["estimate"]))
    enough_seeds = all(row["beats"] for row in rows)
    verb = "beats" if enough_seeds else "scores better than"
    condition = "" if enough_seeds else f" (no verdict for pairs that share fewer than {FEWEST_SEEDS} seeds)"
    return (
        f"Each arm with a result {verb} every control{condition}; the smallest difference is that of "
        f"{code(nearest['arm'])} from {code(nearest['control'])}: {difference_text(nearest)}."
    )


def _by_control(rows: list[Row]) -> list[str]:
    """Return one sentence per control, for many arms that are not shown to beat it."""
    sentences = []
    for control in dict.fromkeys(row["control"] for row in rows):
        own = sorted((row for row in rows if row["control"] == control), key=lambda row: -row["estimate"])
        few_seeds = min(row["seeds"] for row in own) < FEWEST_SEEDS
        condition = f" (some pairs share fewer than {FEWEST_SEEDS} seeds)" if few_seeds else ""
        differences = "; ".join(
            f"{code(row['arm'])} {points(row['estimate'])} ({range_text(row)})" for row in own
        )
        verb = "is" if len(own) == 1 else "are"
        sentences.append(
            f"**{plural(len(own), 'arm')} {verb} not shown to beat the control {code(control)}**{condition}, "
            f"difference in points (95 % interval): {differences}."
        )
    return sentences


def _beats(row: Row) -> bool:
    return shown_better(row, estimate_better=row["better"], interval_better=row["interval_better"])


def floor_sentences(results: StudyResults, tables: Tables) -> list[str]:
    """Return a sentence per floor of the primary split; if that split has no floor, per floor of any split."""
    sentences = []
    arms = tables.floors[tables.floors["role"] != "control"]
    primary = arms["split"] == results.primary_split
    for _, table in (arms[primary] if primary.any() else arms).groupby(["name", "split"], sort=False):
        rows = records(table)
        floor = f"the floor *{escape(rows[0]['name'])}* ({percent(rows[0]['floor'])} % on {escape(rows[0]['split'])})"
        below = [
            f"{code(row['arm'])} {difference_text(row)}"
            for row in rows
            if not shown_better(row, estimate_better=row["estimate"] > 0, interval_better=row["low"] > 0)
        ]
        if below:
            sentences.append(f"**Not shown to lie above {floor}**: {'; '.join(below)}.")
        else:
            low, high = (end(row["estimate"] for row in rows) for end in (min, max))
            condition = " (no interval: one seed)" if any(np.isnan(row["low"]) for row in rows) else ""
            sentences.append(
                f"All arms lie above {floor}, by {unsigned_points(low)} to {unsigned_points(high)} points{condition}."
            )
    return sentences
