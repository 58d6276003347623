"""Sentences of a report that name its arms: which differences are shown, which are not, and what limits them.

Every arm gets the same forms of sentences; what is said of several arms is one sentence. A sentence claims a
difference only where the verdict does. For an arm that had not converged it is limited to "this budget".
`fusion_bench.reporting.report.answer` says the same in numbers.
"""

from __future__ import annotations

from fusion_bench.reporting.report.baseline_sentences import control_sentences, floor_sentences
from fusion_bench.reporting.report.interval_text import difference_text, range_text
from fusion_bench.reporting.report.limits import convergence_sentences, fewest_seeds, not_converged
from fusion_bench.reporting.report.look_sentences import look_sentences, look_text
from fusion_bench.reporting.report.ranking import agreement_sentences
from fusion_bench.reporting.tables.formatting import (
    join_words,
    p_value,
    percent,
    plural,
    points,
    signed_percent,
    unsigned_points,
)
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import FEWEST_SEEDS

_ORDER = ("better", "worse", "equivalent", "underpowered")


def verdict_sentences(results: StudyResults, tables: Tables) -> list[str]:
    """Return the paragraphs, of one or more sentences each, as Markdown."""
    return [
        *_verdicts(results, tables),
        *look_sentences(results, tables),
        *_few_seeds(tables),
        *_without_verdict(results, tables),
        *_outside_the_budget(results, tables),
        *_not_compared(results, tables),
        *control_sentences(results, tables),
        *floor_sentences(results, tables),
        *agreement_sentences(tables),
        *convergence_sentences(tables),
    ]


def _verdicts(results: StudyResults, tables: Tables) -> list[str]:
    rows = records(tables.comparisons[tables.comparisons["verdict"].isin(_ORDER)])
    unconverged = not_converged(tables)
    decided = [row for row in rows if row["verdict"] != "underpowered"]
    decided.sort(key=lambda row: (_ORDER.index(row["verdict"]), -abs(row["estimate"])))
    undecided = [row for row in rows if row["verdict"] == "underpowered"]
    alike = [code(row["arm"]) for row in undecided if row["standard_error"] == 0]
    not_shown = [row for row in undecided if row["standard_error"] > 0]
    sentences = [_verdict(row, results, tables, unconverged) for row in decided]
    if alike:
        arms = join_words([*alike, code(results.reference)])
        sentences.append(f"**{arms} score the same** on every {escape(results.cluster)} with every seed.")
    if not_shown:
        sentences.append(_no_difference_shown(not_shown, results, unconverged))
    return sentences


def _no_difference_shown(rows: list[Row], results: StudyResults, unconverged: set[str]) -> str:
    """Return one paragraph for all comparisons without a shown difference, the largest estimate first."""
    limits = _limits(rows, results, unconverged)
    start = f"{join_words(limits).capitalize()}, **no" if limits else "**No"
    rows = sorted(rows, key=lambda row: -row["estimate"])
    measured = "; ".join(f"{code(row['arm'])} {points(row['estimate'])} ({range_text(row)})" for row in rows)
    excluding = [code(row["arm"]) for row in rows if row["low"] > 0 or row["high"] < 0]
    uncorrected = (
        f" Zero lies outside the {'interval' if len(excluding) == 1 else 'intervals'} of {join_words(excluding)}, "
        f"but the corrected {'p-value is' if len(excluding) == 1 else 'p-values are'} not below "
        f"{'5 %' if results.stages is None else 'the level of the look'}."
        if excluding
        else ""
    )
    level = "95 % interval" if results.stages is None else "interval at the level of the last look"
    return (
        f"{start} difference from {code(results.reference)} is shown** for {plural(len(rows), 'arm')} (points, "
        f"{level}): {measured}.{uncorrected} This is no proof of equality."
    )


def _few_seeds(tables: Tables) -> list[str]:
    """Return what verdicts from few seeds rest on."""
    fewest = fewest_seeds(tables)
    if not fewest:
        return []
    return [
        f"**Few seeds**: the intervals are about new trainings and rest on {fewest} trainings of an arm, whose "
        f"scatter is taken as normal; {fewest} trainings cannot show that it is. Settings such as the learning rate "
        "were chosen once, so their choice is not part of the scatter."
    ]


def _limits(rows: list[Row], results: StudyResults, unconverged: set[str]) -> list[str]:
    """Return the conditions under which a sentence about these comparisons is valid."""
    limits = []
    if unconverged & {*(row["arm"] for row in rows), results.reference}:
        limits.append("at this budget")
    return limits


def _verdict(row: Row, results: StudyResults, tables: Tables, unconverged: set[str]) -> str:
    arm, reference = code(row["arm"]), code(results.reference)
    limits = _limits([row], results, unconverged)
    start = f"{join_words(limits).capitalize()}, **" if limits else "**"
    measured = f"{difference_text(row)}, {_holm(row['p_holm'])}, {look_text(row)}{_seeds(row)}"
    if row["verdict"] in {"better", "worse"}:
        return (
            f"{start}{arm} is {row['verdict']} than {reference}**: {_levels(row, results, tables)}{measured}."
        )
    return (
        f"{start}{arm} and {reference} are equivalent** within the study's margin of "
        f"{unsigned_points(results.margin or 0.0)} points: {difference_text(row)}, "
        f"{_holm(row['p_margin_holm'])} for a larger difference, {look_text(row)}{_seeds(row)}."
    )


def _seeds(row: Row) -> str:
    """Return ``3 seeds``, or ``3 seeds against 8`` where the reference has more."""
    against = "" if row["seeds"] == row["reference_seeds"] else f" against {row['reference_seeds']}"
    return plural(row["seeds"], "seed") + against


def _holm(p: float) -> str:
    """Return ``Holm p = 0.012`` or ``Holm p < 0.001``."""
    written = p_value(p)
    return f"Holm p < {written[1:]}" if written.startswith("<") else f"Holm p = {written}"


def _levels(row: Row, results: StudyResults, tables: Tables) -> str:
    """Return ``81.2 % against 78.0 %, `` if both means are over exactly the seeds of the difference, else nothing."""
    means = results.on_primary(tables.means).set_index("arm")
    both = [row["arm"], results.reference]
    if means.loc[both, "seeds"].tolist() != [row["seeds"], row["reference_seeds"]]:
        return ""
    mean, reference_mean = (percent(float(means.loc[arm, "estimate"])) for arm in both)
    return f"{mean} % against {reference_mean} %, "


def _without_verdict(results: StudyResults, tables: Tables) -> list[str]:
    sentences = []
    none = tables.comparisons["verdict"] == "no verdict"
    if results.stages is not None:  # the sentences on looks say why an arm had a part in none
        none &= tables.comparisons["look"] > 0
    rows = records(tables.comparisons[none])
    fewest = [min(row["seeds"], row["reference_seeds"]) for row in rows]
    for seeds in sorted(set(fewest)):
        measured = [
            f"{code(row['arm'])} {difference_text(row)}"
            for row, count in zip(rows, fewest, strict=True)
            if count == seeds
        ]
        if seeds >= FEWEST_SEEDS:
            cluster = escape(results.cluster)
            reason = f"all samples belong to one {cluster}, so the spread between several is unknown"
        elif seeds == 1:
            reason = "one training gives no estimate of the spread between trainings"
        else:
            reason = "two trainings are too few to estimate the spread between trainings"
        sentences.append(
            f"**No verdict ({plural(seeds, 'seed')})**: {reason}. A verdict needs {FEWEST_SEEDS} seeds. "
            f"Measured differences from {code(results.reference)}, "
            f"without a claim: {'; '.join(measured)}."
        )
    return sentences


def _outside_the_budget(results: StudyResults, tables: Tables) -> list[str]:
    """Return a paragraph on the arms whose cost is too far from the budget for a verdict."""
    outside = [arm for arm in results.arms if arm.unranked]
    if not outside:
        return []
    measured = {row["arm"]: difference_text(row) for row in records(tables.comparisons)}
    arms = [
        f"{code(arm.label)}, {signed_percent(arm.budget_distance)} ({escape(arm.unranked)})"
        + (f", {measured[arm.label]}" if arm.label in measured else "")
        for arm in outside
    ]
    return [
        f"**Not ranked**: the study matches {escape(results.budget)} to those of {code(results.reference)} within "
        f"{unsigned_points(results.tolerance or 0.0)} %. Outside this tolerance, the size alone may explain a "
        f"difference: {'; '.join(arms)}."
    ]


def _not_compared(results: StudyResults, tables: Tables) -> list[str]:
    compared = {results.reference, *tables.comparisons["arm"]}
    missing = [code(arm.label) for arm in results.arms if arm.label not in compared]
    if not missing:
        return []
    return [
        f"Not compared: {join_words(missing)}; no seed is finished in both that arm and the reference "
        f"{code(results.reference)}."
    ]
