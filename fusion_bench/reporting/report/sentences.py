"""What may be said, in plain sentences: which differences are real, and which could not be told.

Every arm gets the same forms, whoever wrote it. A sentence claims a difference only where the verdict does;
with three or four seeds it speaks "for these trained models", and about an arm that was still learning "at
this budget".
"""

from __future__ import annotations

import numpy as np

from fusion_bench.reporting.report.ranking import agreement_sentences
from fusion_bench.reporting.tables.formatting import (
    code,
    escape,
    listing,
    p_value,
    percent,
    plural,
    points,
    points_range,
    relative,
    size,
)
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import FEWEST_SEEDS

SEEDS_TO_GENERALISE = 5
_MANY = 5
"""More open comparisons, or arms behind a control, than this share a sentence."""

_ORDER = ("better", "worse", "equivalent", "underpowered")


def verdict_sentences(results: StudyResults, tables: Tables) -> list[str]:
    """The report's first section, a sentence or two each, as Markdown."""
    return [
        *_summary(results, tables),
        *_judged(results, tables),
        *_unjudged(results, tables),
        *_outside_the_budget(results, tables),
        *_incomparable(results, tables),
        *_against_controls(tables),
        *_against_floors(results, tables),
        *agreement_sentences(tables),
        *_still_learning(tables),
        *_cells(results),
    ]


def _interval(row: Row) -> str:
    if np.isnan(row["low"]):
        return f"{points(row['estimate'])} points"
    return f"{points(row['estimate'])} points (95 % interval {points_range(row['low'], row['high'])})"


def _summary(results: StudyResults, tables: Tables) -> list[str]:
    family = tables.comparisons[tables.comparisons["verdict"] != ""]
    if family.empty:
        return []
    tally = family["verdict"].value_counts()
    words = {"underpowered": "without a shown difference", "no verdict": "without a verdict"}
    counted = [
        f"{tally[verdict]} {words.get(verdict, verdict)}"
        for verdict in (*_ORDER, "no verdict")
        if verdict in tally
    ]
    base = (
        f"{plural(int(family['samples'].iloc[0]), 'sample')} of "
        f"{plural(int(family['clusters'].iloc[0]), results.cluster)}"
    )
    arms = plural(len(family), "arm")
    return [
        f"On {results.primary_split} {results.primary} ({base}), {arms} against the reference "
        f"{code(results.reference)}: {listing(counted)}."
    ]


def _judged(results: StudyResults, tables: Tables) -> list[str]:
    judged = records(tables.comparisons[tables.comparisons["verdict"].isin(_ORDER)])
    judged.sort(key=lambda row: (_ORDER.index(row["verdict"]), -abs(row["estimate"])))
    still = not_converged(tables)
    open_ones = [row for row in judged if row["verdict"] == "underpowered" and row["standard_error"] > 0]
    if len(open_ones) <= _MANY:
        return [_verdict(row, results, tables, still) for row in judged]
    shown = [_verdict(row, results, tables, still) for row in judged if row not in open_ones]
    return [*shown, _open(open_ones, results, still)]


def _open(rows: list[Row], results: StudyResults, still: set[str]) -> str:
    """Many comparisons that came out open, in one sentence: the largest estimate first."""
    limits = _limits(rows, results, still)
    scope = f"{listing(limits).capitalize()}, **no" if limits else "**No"
    rows = sorted(rows, key=lambda row: -row["estimate"])
    measured = "; ".join(f"{code(row['arm'])} {points(row['estimate'])} ({_range(row)})" for row in rows)
    alone = [code(row["arm"]) for row in rows if row["low"] > 0 or row["high"] < 0]
    excluding = (
        f" Zero lies outside the {'interval' if len(alone) == 1 else 'intervals'} of {listing(alone)}; among so many "
        "comparisons that is not enough."
        if alone
        else ""
    )
    least, most = (size(pick(row["detectable"] for row in rows)) for pick in (min, max))
    return (
        f"{scope} difference from {code(results.reference)} is shown** for {len(rows)} arms (points, 95 % interval): "
        f"{measured}.{excluding} That is no proof of equality: only true differences of {least} points (the most "
        f"precise comparison) to {most} points or more would have been found four times in five."
    )


def _limits(rows: list[Row], results: StudyResults, still: set[str]) -> list[str]:
    """How far sentences about these comparisons reach."""
    limits = []
    if still & {*(row["arm"] for row in rows), results.reference}:
        limits.append("at this budget")
    if min(row["seeds"] for row in rows) < SEEDS_TO_GENERALISE:
        limits.append("for these trained models")
    return limits


def _range(row: Row) -> str:
    return points_range(row["low"], row["high"])


def _verdict(row: Row, results: StudyResults, tables: Tables, still: set[str]) -> str:
    arm, reference = code(row["arm"]), code(results.reference)
    limits = _limits([row], results, still)
    scope = f"{listing(limits).capitalize()}, **" if limits else "**"
    measured = f"{_interval(row)}, Holm p = {p_value(row['p_holm'])}".replace("= <", "< ")
    measured += f", {plural(row['seeds'], 'seed')}"
    if row["verdict"] in {"better", "worse"}:
        return (
            f"{scope}{arm} is {row['verdict']} than {reference}**: {_levels(row, results, tables)}{measured}."
        )
    if row["verdict"] == "equivalent":
        return (
            f"{scope}{arm} and {reference} are equivalent** within the study's margin of "
            f"{size(results.margin or 0.0)} points: {_interval(row)}, Holm p = {p_value(row['p_margin_holm'])} for "
            f"a larger difference, {plural(row['seeds'], 'seed')}.".replace("= <", "< ")
        )
    if row["standard_error"] == 0:
        return f"{scope}{arm} and {reference} score the same** on every {results.cluster} with every seed."
    alone = " The interval by itself excludes zero; among so many comparisons that is not enough."
    return (
        f"{scope}{'no' if limits else 'No'} difference is shown between {arm} and {reference}**: {measured}."
        f"{alone if row['low'] > 0 or row['high'] < 0 else ''} That is no proof of equality: only a true "
        f"difference of {size(row['detectable'])} points or more would have been found four times in five."
    )


def _levels(row: Row, results: StudyResults, tables: Tables) -> str:
    """``81.2 % against 78.0 %, `` if both means are over the very seeds that were paired."""
    means = tables.means[
        (tables.means["split"] == results.primary_split) & (tables.means["metric"] == results.primary)
    ].set_index("arm")
    both = [row["arm"], results.reference]
    if (means.loc[both, "seeds"] != row["seeds"]).any():
        return ""
    ours, theirs = (percent(float(means.loc[arm, "estimate"])) for arm in both)
    return f"{ours} % against {theirs} %, "


def _unjudged(results: StudyResults, tables: Tables) -> list[str]:
    said = []
    rows = records(tables.comparisons[tables.comparisons["verdict"] == "no verdict"])
    for seeds in sorted({row["seeds"] for row in rows}):
        measured = [f"{code(row['arm'])} {_interval(row)}" for row in rows if row["seeds"] == seeds]
        if seeds >= FEWEST_SEEDS:
            why = f"all samples belong to one {results.cluster}, so there is nothing to generalise from"
        elif seeds == 1:
            why = "one training says nothing about the next"
        else:
            why = "the spread between two trainings cannot be told from two numbers"
        said.append(
            f"**No verdict ({plural(seeds, 'seed')})**: {why}; a verdict needs {FEWEST_SEEDS} seeds, and "
            f"{SEEDS_TO_GENERALISE} to speak about new trainings. Measured against {code(results.reference)}, "
            f"nothing claimed: {'; '.join(measured)}."
        )
    return said


def _outside_the_budget(results: StudyResults, tables: Tables) -> list[str]:
    """Arms that cost too much or too little for a verdict."""
    outside = [arm for arm in results.arms if arm.unranked]
    if not outside:
        return []
    measured = {row["arm"]: _interval(row) for row in records(tables.comparisons)}
    named = [
        f"{code(arm.label)}, {relative(arm.budget_distance)} ({escape(arm.unranked)})"
        + (f", {measured[arm.label]}" if arm.label in measured else "")
        for arm in outside
    ]
    return [
        f"**Not ranked**: the study matches {results.budget} to those of {code(results.reference)} within "
        f"{size(results.tolerance or 0.0)} %, and where that is not reached size alone may explain a difference: "
        f"{'; '.join(named)}."
    ]


def _incomparable(results: StudyResults, tables: Tables) -> list[str]:
    compared = {results.reference, *tables.comparisons["arm"]}
    missing = [code(arm.label) for arm in results.arms if arm.label not in compared]
    if not missing:
        return []
    return [
        f"Not compared: {listing(missing)}; no seed is finished in both that arm and the reference "
        f"{code(results.reference)}."
    ]


def _against_controls(tables: Tables) -> list[str]:
    rows = records(tables.controls)
    if not rows:
        return []
    behind = [row for row in rows if not _shown(row, row["leads"], row["ahead"])]
    if len({row["arm"] for row in behind}) > _MANY:
        return _behind(behind)
    said = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        doubtful = [row for row in rows if row["arm"] == arm and not _shown(row, row["leads"], row["ahead"])]
        if doubtful:
            judged = min(row["seeds"] for row in doubtful) >= FEWEST_SEEDS
            leads = [f"{code(row['control'])} {_lead(row)}" for row in doubtful]
            plurally = "a control" if len(leads) == 1 else "its controls"
            standing = f"does not beat {plurally}" if judged else f"is not shown to beat {plurally}"
            said.append(f"**{code(arm)} {standing}**: lead over {listing(leads)}.")
    if said:
        return said
    nearest = min(rows, key=lambda row: abs(row["estimate"]))
    judged = bool(tables.controls["beats"].all())
    verb = "beats" if judged else "leads"
    caveat = "" if judged else f" (some pairs share fewer than {FEWEST_SEEDS} seeds, so no verdict on those)"
    return [
        f"Each arm with a result {verb} every control{caveat}; the smallest lead is that of "
        f"{code(nearest['arm'])} over {code(nearest['control'])}: {_interval(nearest)}."
    ]


def _behind(rows: list[Row]) -> list[str]:
    """Many arms that are not ahead of a control, a sentence for each control."""
    said = []
    for control in dict.fromkeys(row["control"] for row in rows):
        own = sorted((row for row in rows if row["control"] == control), key=lambda row: -row["estimate"])
        judged = min(row["seeds"] for row in own) >= FEWEST_SEEDS
        leads = "; ".join(f"{code(row['arm'])} {points(row['estimate'])} ({_range(row)})" for row in own)
        standing = "not ahead of" if judged else "not shown to be ahead of"
        said.append(
            f"**{plural(len(own), 'arm')} {standing} the control {code(control)}**, lead in points (95 % interval): "
            f"{leads}."
        )
    return said


def _shown(row: Row, measured: bool, interval: bool) -> bool:
    """With an interval all of it must lie on the better side; without one the estimate is all there is."""
    return measured if np.isnan(row["low"]) else interval


def _lead(row: Row) -> str:
    return f"{_interval(row)} on {plural(row['seeds'], 'seed')}"


def _against_floors(results: StudyResults, tables: Tables) -> list[str]:
    """On the split that is judged, or, where no floor stands on it, wherever one does."""
    said = []
    arms = tables.floors[tables.floors["role"] != "control"]
    judged = arms["split"] == results.primary_split
    for _, floored in (arms[judged] if judged.any() else arms).groupby(["name", "split"], sort=False):
        rows = records(floored)
        floor = f"the floor *{escape(rows[0]['name'])}* ({percent(rows[0]['floor'])} % on {rows[0]['split']})"
        below = [
            f"{code(row['arm'])} {_interval(row)}"
            for row in rows
            if not _shown(row, row["estimate"] > 0, row["low"] > 0)
        ]
        if below:
            said.append(f"**Not shown to lie above {floor}**: {'; '.join(below)}.")
        else:
            low, high = (end(row["estimate"] for row in rows) for end in (min, max))
            caveat = " (no interval: one seed)" if any(np.isnan(row["low"]) for row in rows) else ""
            said.append(f"All arms lie above {floor}, by {size(low)} to {size(high)} points{caveat}.")
    return said


def _still_learning(tables: Tables) -> list[str]:
    rows = records(tables.learning[~tables.learning["converged"]])
    rising = [row for row in rows if not np.isnan(row["rise"])]
    unknown = [code(row["arm"]) for row in rows if np.isnan(row["rise"])]
    said = []
    if rising:
        said.append(
            f"**Not converged**: {listing([code(row['arm']) for row in rising])} still rose on the selection "
            f"split in the last fifth of the schedule, by {listing([size(row['rise']) for row in rising])} "
            "points. What is said about them holds at this budget."
        )
    if unknown:
        said.append(f"Whether {listing(unknown)} had converged is unknown: too few evaluations.")
    return said


def not_converged(tables: Tables) -> set[str]:
    """Labels of the arms that sentences must qualify with "at this budget"."""
    return set(tables.learning.loc[~tables.learning["converged"], "arm"])


def _cells(results: StudyResults) -> list[str]:
    states = results.cells["state"].value_counts()
    bad = [f"{states[state]} {state}" for state in ("failed", "stale", "missing") if state in states]
    if not bad:
        return []
    count = int(len(results.cells) - states.get("done", 0))
    return [f"{count} of {len(results.cells)} cells gave no result ({listing(bad)}); they are listed below."]
