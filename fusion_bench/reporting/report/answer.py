"""The start of a report: three sentences with numbers, and what limits them, as counts.

It has at most 150 words whatever the number of arms. The table below it names the arms, and the lists of
`fusion_bench.reporting.report.sentences` are folded below that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_bench.reporting.report.baseline_sentences import floor_rows, not_above
from fusion_bench.reporting.tables.answer_rows import AnswerRow, answer_rows, controls_without_result
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

SEEDS_WITHOUT_CAVEAT = 5
"""The smallest number of seeds at which a report does not say what so few trainings cannot show."""


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
    means = [row.mean["estimate"] for row in ranked]
    if best.mean["estimate"] != (min(means) if falling else max(means)):  # an arm lacks seeds of the others
        first = f"has place 1 by the differences, with a {metric} of "
    else:
        first = f"has the {'lowest' if falling else 'highest'} {metric}: "
    return f"Of {which}, {label} {first}{_level(best)}{basis}{_tie(best, len(ranked) - 1)}."


def _tie(best: AnswerRow, others: int) -> str:
    """Return what is shown between the best arm and the others; nothing for the reference, which has the verdicts."""
    if best.tied is None or best.role == "reference":
        return ""
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
        needs = (
            f"{FEWEST_SEEDS} seeds"
            if (family["seeds"] < FEWEST_SEEDS).any()
            else f"several {escape(results.cluster)}s"
        )
        return f"Against {against}, {_arms(none)} without a verdict, which needs {needs}."
    parts = [f"{_arms(better)} better", f"{worse} worse"]
    if results.margin is not None:
        parts.append(f"{equivalent} equivalent within {margin_text(results.margin)}")
    parts.append(f"{undecided} open")
    if none:
        parts.append(f"{none} without a verdict")
    detectable = float(family["detectable"].max())  # one number, in the rows that were tested
    power = (
        ""
        if np.isnan(detectable)
        else f"; with 80 % probability, a comparison finds a true difference of {unsigned_points(detectable)} points"
    )
    return f"Against {against}, {join_words(parts)}{power}."


def _arms(number: int) -> str:
    return f"{plural(number, 'arm')} {_are(number)}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def answer_limits(results: StudyResults, tables: Tables) -> list[str]:
    """Return what limits the answer: short clauses with counts, without names of arms."""
    rows = answer_rows(results, tables)
    best = next((row.arm for row in rows if row.place == 1), "")
    return [
        *_convergence(rows),
        *_baselines(rows, best, results, tables),
        *_outside(results),
        *_few_seeds(tables),
        *_not_compared(results, tables),
        *_unfinished(results),
    ]


def _convergence(rows: Sequence[AnswerRow]) -> list[str]:
    count = len(rows)
    rising = sum(row.converged is False for row in rows)
    unknown = sum(row.converged is None for row in rows)
    if count and rising == count:
        return ["no arm had converged, so everything holds at this budget only"]
    if not rising:
        return [f"whether {plural(unknown, 'arm')} had converged is unknown"] if unknown else []
    open_ = f" ({unknown} unknown)" if unknown else ""
    whose = "its" if rising == 1 else "their"
    return [f"{rising} of {count} arms had not converged{open_}, so {whose} results hold at this budget only"]


def _baselines(rows: Sequence[AnswerRow], best: str, results: StudyResults, tables: Tables) -> list[str]:
    """Return the clauses on the arms that are not shown to beat the controls, or the floors."""
    behind = [row.arm for row in rows if row.beats is False]
    below = {row["arm"] for row in not_above(floor_rows(results, tables))}
    if not behind:
        return [f"{_arms(len(below))} not shown to lie above every floor"] if below else []
    also = "" if best not in behind else " (the best)" if len(behind) == 1 else ", the best among them,"
    clause = f"{plural(len(behind), 'arm')}{also} {_are(len(behind))} not shown to beat every control"
    clauses = [f"{clause}, {len(below)} to lie above every floor" if below else clause]
    missing = len(controls_without_result(results, tables))
    if missing:
        clauses.append(f"{plural(missing, 'control')} {'has' if missing == 1 else 'have'} no result")
    return clauses


def _outside(results: StudyResults) -> list[str]:
    outside = sum(bool(arm.unranked) for arm in results.arms)
    return [f"{_arms(outside)} outside the budget"] if outside else []


def _few_seeds(tables: Tables) -> list[str]:
    fewest = fewest_seeds(tables)
    return [f"verdicts rest on {fewest} trainings of an arm"] if fewest else []


def fewest_seeds(tables: Tables) -> int:
    """Return the smallest number of seeds that a verdict rests on; 0 without verdicts or where it needs no caveat."""
    decided = tables.comparisons[~tables.comparisons["verdict"].isin(["", "no verdict"])]
    fewest = int(decided[["seeds", "reference_seeds"]].to_numpy().min()) if len(decided) else 0
    return fewest if fewest < SEEDS_WITHOUT_CAVEAT else 0


def _not_compared(results: StudyResults, tables: Tables) -> list[str]:
    if results.reference not in tables.order:
        return []  # the sentence on the reference says so
    compared = {results.reference, *tables.comparisons["arm"]}
    missing = sum(arm.role != "control" and arm.label not in compared for arm in results.arms)
    return [f"{_arms(missing)} not compared with the reference"] if missing else []


def _unfinished(results: StudyResults) -> list[str]:
    count = int((results.cells["state"] != "done").sum())
    return [f"{count} of {len(results.cells)} cells gave no result"] if count else []
