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
    """Return a sentence for each arm that is not shown to beat the controls, or one sentence if all arms are."""
    rows = records(tables.controls)
    if not rows:
        return []
    behind = [row for row in rows if not row["beats"]]
    if not behind:
        return [_all_beat(rows)]
    if len({row["arm"] for row in behind}) > MANY_ROWS:
        return _by_control(behind)
    return [
        _not_shown([row for row in behind if row["arm"] == arm])
        for arm in dict.fromkeys(row["arm"] for row in behind)
    ]


def _not_shown(rows: list[Row]) -> str:
    """Return the sentence on one arm; it names the controls whose interval leaves the lead open, or the nearest."""
    named = [row for row in rows if not row["interval_better"]]
    few = min(row["seeds"] for row in rows) < FEWEST_SEEDS
    note = ""
    if few:
        note = f" A lead is shown from {FEWEST_SEEDS} seeds on."
    elif not named:
        note = " The interval excludes zero, but the p-value, corrected over the arms, is not below 2.5 %."
    named = named or [max(rows, key=lambda row: row["p"])]
    differences = [
        f"{code(row['control'])} {difference_text(row)} on {plural(row['seeds'], 'seed')}" for row in named
    ]
    which = "its controls" if len(named) > 1 else f"the control {code(named[0]['control'])}"
    arm = code(rows[0]["arm"])
    return f"**{arm} is not shown to beat {which}**: difference from {join_words(differences)}.{note}"


def _all_beat(rows: list[Row]) -> str:
    nearest = min(rows, key=lambda row: abs(row["estimate"]))
    return (
        "Each arm with a result beats every control (corrected over the arms); the smallest difference is that of "
        f"{code(nearest['arm'])} from {code(nearest['control'])}: {difference_text(nearest)}."
    )


def _by_control(rows: list[Row]) -> list[str]:
    """Return one sentence per control, for many arms that are not shown to beat it."""
    sentences = []
    for control in dict.fromkeys(row["control"] for row in rows):
        own = sorted((row for row in rows if row["control"] == control), key=lambda row: -row["estimate"])
        open_leads = [row for row in own if not row["interval_better"]]
        if not open_leads:
            continue
        few_seeds = min(row["seeds"] for row in open_leads) < FEWEST_SEEDS
        condition = f" (some pairs have fewer than {FEWEST_SEEDS} seeds)" if few_seeds else ""
        differences = "; ".join(
            f"{code(row['arm'])} {points(row['estimate'])} ({range_text(row)})" for row in open_leads
        )
        verb = "is" if len(open_leads) == 1 else "are"
        sentences.append(
            f"**{plural(len(open_leads), 'arm')} {verb} not shown to beat the control {code(control)}**{condition}, "
            f"difference in points (95 % interval): {differences}."
        )
    named = {row["arm"] for row in rows if not row["interval_better"]}
    rest = [code(arm) for arm in dict.fromkeys(row["arm"] for row in rows) if arm not in named]
    if rest:
        verb = "is" if len(rest) == 1 else "are"
        sentences.append(
            f"{join_words(rest)} {verb} not shown to beat every control either: each interval excludes zero, but the "
            "p-value, corrected over the arms, is not below 2.5 %."
        )
    return sentences


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
