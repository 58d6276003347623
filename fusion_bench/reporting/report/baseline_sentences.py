"""Sentences on the arms against controls and against floors."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fusion_bench.reporting.report.interval_text import difference_text, range_text, shown_better
from fusion_bench.reporting.tables.answer_rows import controls_without_result
from fusion_bench.reporting.tables.formatting import join_words, percent, plural, points, unsigned_points
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import FEWEST_SEEDS


def control_sentences(results: StudyResults, tables: Tables) -> list[str]:
    """Return a sentence for each control that some arm is not shown to beat, or one sentence if all arms are."""
    rows = records(tables.controls)
    sentences = [*missing_controls(results, tables), *_not_compared(results, tables)]
    behind = [row for row in rows if not row["leads"]]
    if behind:
        return [*sentences, *_by_control(behind)]
    return [*sentences, _all_beat(rows)] if rows else sentences


def missing_controls(results: StudyResults, tables: Tables) -> list[str]:
    """Return the sentence on the controls without a result; none if all have one."""
    missing = [code(control) for control in controls_without_result(results, tables)]
    if not missing:
        return []
    verb = "has" if len(missing) == 1 else "have"
    return [f"{join_words(missing)} {verb} no result, so no arm is shown to beat every control."]


def _not_compared(results: StudyResults, tables: Tables) -> list[str]:
    """Return a sentence for each control with a result that shares no finished seed with some arms."""
    roles = {arm.label: arm.role for arm in results.arms}
    arms = [label for label in tables.order if roles[label] != "control"]
    pairs = set(zip(tables.controls["arm"], tables.controls["control"], strict=True))
    sentences = []
    for control in tables.order[len(arms) :]:
        apart = [code(arm) for arm in arms if (arm, control) not in pairs]
        if apart:
            verb = "is" if len(apart) == 1 else "are"
            sentences.append(
                f"{join_words(apart)} {verb} not compared with the control {code(control)}, because no seed is "
                "finished in both, and so not shown to beat it."
            )
    return sentences


def _all_beat(rows: list[Row]) -> str:
    nearest = min(rows, key=lambda row: abs(row["estimate"]))
    which = "every control" if all(row["beats"] for row in rows) else "each control that it is compared with"
    return (
        f"Each arm with a result beats {which} (corrected over the arms); the smallest difference is that of "
        f"{code(nearest['arm'])} from {code(nearest['control'])}: {difference_text(nearest)}."
    )


def _by_control(rows: list[Row]) -> list[str]:
    """Return one sentence per control on the arms that are not shown to beat it, each with its difference."""
    sentences = []
    for control in dict.fromkeys(row["control"] for row in rows):
        own = sorted((row for row in rows if row["control"] == control), key=lambda row: -row["estimate"])
        open_leads = [row for row in own if not row["interval_better"]]
        if not open_leads:
            continue
        few_seeds = min(row["seeds"] for row in open_leads) < FEWEST_SEEDS
        condition = f", with fewer than {FEWEST_SEEDS} seeds in some pairs" if few_seeds else ""
        differences = "; ".join(
            f"{code(row['arm'])} {points(row['estimate'])} ({range_text(row)})" for row in open_leads
        )
        verb = "is" if len(open_leads) == 1 else "are"
        sentences.append(
            f"**{plural(len(open_leads), 'arm')} {verb} not shown to beat the control {code(control)}** "
            f"(points, 95 % interval{condition}): {differences}."
        )
    named = {row["arm"] for row in rows if not row["interval_better"]}
    rest = [code(arm) for arm in dict.fromkeys(row["arm"] for row in rows) if arm not in named]
    if rest:
        verb = "is" if len(rest) == 1 else "are"
        either = " either" if named else ""
        few_seeds = min(row["seeds"] for row in rows if row["arm"] not in named) < FEWEST_SEEDS
        reason = (
            f"a lead is shown from {FEWEST_SEEDS} seeds on"
            if few_seeds
            else "each interval excludes zero, but the p-value, corrected over the arms, is not below 2.5 %"
        )
        sentences.append(f"{join_words(rest)} {verb} not shown to beat every control{either}: {reason}.")
    return sentences


def floor_sentences(results: StudyResults, tables: Tables) -> list[str]:
    """Return a sentence per floor of the primary split; if that split has no floor, per floor of any split."""
    sentences = []
    for _, table in floor_rows(results, tables).groupby(["name", "split"], sort=False):
        rows = records(table)
        floor = f"the floor *{escape(rows[0]['name'])}* ({percent(rows[0]['floor'])} % on {escape(rows[0]['split'])})"
        below = [f"{code(row['arm'])} {difference_text(row)}" for row in not_above(table)]
        if below:
            sentences.append(f"**Not shown to lie above {floor}**: {'; '.join(below)}.")
        else:
            low, high = (end(row["estimate"] for row in rows) for end in (min, max))
            one_seed = any(np.isnan(row["low"]) for row in rows)
            condition = "one seed, so without intervals" if one_seed else "each by its own 95 % interval"
            sentences.append(
                f"All arms lie above {floor}, by {unsigned_points(low)} to {unsigned_points(high)} points "
                f"({condition})."
            )
    return sentences


def floor_rows(results: StudyResults, tables: Tables) -> pd.DataFrame:
    """Return the rows of `Tables.floors` of arms on the primary split, or on any split if that one has no floor."""
    arms = tables.floors[tables.floors["role"] != "control"]
    primary = arms["split"] == results.primary_split
    return arms[primary] if primary.any() else arms


def not_above(rows: pd.DataFrame) -> list[Row]:
    """Return those of ``rows`` (of `Tables.floors`) whose arm is not shown to lie above its floor."""
    return [
        row
        for row in records(rows)
        if not shown_better(row, estimate_better=row["estimate"] > 0, interval_better=row["low"] > 0)
    ]
