"""The start of a report: three sentences with numbers.

With what limits them (`fusion_bench.reporting.report.limits`) it has at most 150 words whatever the number of arms.
The table below it names the arms, and the lists of `fusion_bench.reporting.report.sentences` are folded below that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_bench.reporting.report.limits import counted_arms
from fusion_bench.reporting.tables.answer_rows import AnswerRow, answer_rows
from fusion_bench.reporting.tables.formatting import (
    join_words,
    margin_text,
    percent,
    percent_range,
    plural,
    unsigned_points,
)
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import FEWEST_SEEDS


def answer_sentences(results: StudyResults, tables: Tables) -> list[str]:
    """Return the sentences on the best arm, on the reference (or the next arm), and on the verdicts as numbers."""
    rows = answer_rows(results, tables)
    if not rows:
        return ["No arm has a result."]
    ranked = [row for row in rows if row.place is not None] or list(rows)
    sentences = [_best(ranked, rows, results)]
    if sum(arm.role != "control" for arm in results.arms) > 1:
        sentences += [_second(ranked, rows, results), _verdicts(ranked, results, tables)]
    return sentences


def _best(ranked: Sequence[AnswerRow], rows: Sequence[AnswerRow], results: StudyResults) -> str:
    best, metric = ranked[0], escape(f"{results.primary_split} {results.primary}")
    basis = f" over {plural(best.mean['seeds'], 'seed')} and {plural(best.mean['clusters'], escape(results.cluster))}"
    label = ("the reference " if best.role == "reference" else "") + f"**{code(best.arm)}**"
    if len(ranked) == 1:
        only = "The only ranked arm" if len(rows) > 1 else "The only arm with a result"
        return f"{only}, {label}, has a {metric} of {_level(best)}{basis}."
    which = f"{len(ranked)} arms" if len(ranked) == len(rows) else f"the {len(ranked)} ranked arms"
    falling = results.primary in results.lower_is_better
    means = [round(row.mean["estimate"], 12) for row in ranked]  # means that differ in the last bit are equal
    if means[0] != (min(means) if falling else max(means)):  # an arm lacks seeds of the others
        first = f"has place 1 by the differences, with a {metric} of "
    else:
        first = f"has the {'lowest' if falling else 'highest'} {metric}: "
    return f"Of {which}, {label} {first}{_level(best)}{basis}{_tie(best, len(ranked) - 1)}."


def _tie(best: AnswerRow, others: int) -> str:
    """Return what is shown between the best arm and the others; nothing for the reference, which has the verdicts."""
    if best.tied is None or best.role == "reference":
        return ""
    if best.tied == 0 and best.ahead != others:
        # Where arms lack seeds, the order by differences from the reference may contradict that of another pair.
        return f"; it differs from every other, and is better than {best.ahead} of the {others}"
    if best.tied == 0:
        return "; it differs from the other" if others == 1 else "; it differs from every other"
    which = (
        "the other"
        if others == 1
        else f"the {others} others"
        if best.tied == others
        else f"{best.tied} of them"
    )
    return f"; no difference from {which} is shown"


def _second(ranked: Sequence[AnswerRow], rows: Sequence[AnswerRow], results: StudyResults) -> str:
    if ranked[0].role == "reference":
        if len(ranked) > 1:
            return f"The next is {code(ranked[1].arm)} with {_level(ranked[1], short=True)}."
        return "No other arm is ranked." if len(rows) > 1 else "No other arm has a result."
    for row in rows:
        if row.role == "reference" and row.place is None:
            return (
                f"The reference {code(row.arm)} has {_level(row)} over {plural(row.mean['seeds'], 'seed')}."
            )
        if row.role == "reference":
            return f"The reference {code(row.arm)} has place {row.place} with {_level(row, short=True)}."
    return f"The reference {code(results.reference)} has no result."


def _level(row: AnswerRow, *, short: bool = False) -> str:
    """Return ``87.2 % (95 % interval 85.9 to 88.5)``; in short, without saying what interval it is."""
    low, high = row.mean["low"], row.mean["high"]
    name = "" if short else "95 % interval "
    interval = "" if np.isnan(low) else f" ({name}{percent_range(low, high)})"
    return f"{percent(row.mean['estimate'])} %{interval}"


def _verdicts(ranked: Sequence[AnswerRow], results: StudyResults, tables: Tables) -> str:
    family = tables.comparisons[tables.comparisons["verdict"] != ""]
    against = "it" if ranked[0].role != "reference" else code(results.reference)
    if family.empty:
        return f"No ranked arm is compared with {against}."
    tally = family["verdict"].value_counts()
    better, worse, equivalent, undecided, none = (
        int(tally.get(name, 0)) for name in ("better", "worse", "equivalent", "underpowered", "no verdict")
    )
    if none == len(family):
        if results.stages is not None and not results.stages.taken:
            return f"Against {against}, {counted_arms(none)} without a verdict; no look is taken yet."
        needs = (
            f"{FEWEST_SEEDS} seeds"
            if (family["seeds"] < FEWEST_SEEDS).any()
            else f"several {escape(results.cluster)}s"
        )
        return f"Against {against}, {counted_arms(none)} without a verdict, which needs {needs}."
    parts = [f"{counted_arms(better)} better", f"{worse} worse"]
    if results.margin is not None:
        parts.append(f"{equivalent} equivalent within {margin_text(results.margin)}")
    parts.append(f"{undecided} open")
    if none:
        parts.append(f"{none} without a verdict")
    last = family[family["look"] == family["look"].max()]
    detectable = float(last["detectable"].max())  # one number, in the rows that were tested
    at = "a comparison" if results.stages is None else f"a comparison of look {int(last['look'].max())}"
    power = (
        ""
        if np.isnan(detectable)
        else f"; with 80 % probability, {at} finds a true difference of {unsigned_points(detectable)} points"
    )
    return f"Against {against}, {join_words(parts)}{power}."
