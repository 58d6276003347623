"""The limits of a report's answer: short clauses with counts, and the sentences on arms that had not converged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_bench.reporting.report.baseline_sentences import floor_rows, not_above
from fusion_bench.reporting.report.look_sentences import look_limits
from fusion_bench.reporting.tables.answer_rows import AnswerRow, answer_rows, controls_without_result
from fusion_bench.reporting.tables.formatting import join_words, plural, unsigned_points
from fusion_bench.reporting.tables.markdown_text import code
from fusion_bench.reporting.tables.tables import Tables, records
from fusion_bench.results.results import StudyResults

SEEDS_WITHOUT_CAVEAT = 5
"""The smallest number of seeds at which a report does not say what so few trainings cannot show."""


def answer_limits(results: StudyResults, tables: Tables) -> list[str]:
    """Return what limits the answer: short clauses with counts, without names of arms."""
    rows = answer_rows(results, tables)
    best = next((row.arm for row in rows if row.place == 1), "")
    return [
        *_convergence(rows),
        *_baselines(rows, best, results, tables),
        *_outside(results),
        *look_limits(results, tables),
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
        return [f"{counted_arms(len(below))} not shown to lie above every floor"] if below else []
    also = "" if best not in behind else " (the best)" if len(behind) == 1 else ", the best among them,"
    clause = f"{plural(len(behind), 'arm')}{also} {_is_or_are(len(behind))} not shown to beat every control"
    clauses = [f"{clause}, {len(below)} to lie above every floor" if below else clause]
    missing = len(controls_without_result(results, tables))
    if missing:
        clauses.append(f"{plural(missing, 'control')} {'has' if missing == 1 else 'have'} no result")
    return clauses


def _outside(results: StudyResults) -> list[str]:
    outside = sum(bool(arm.unranked) for arm in results.arms)
    return [f"{counted_arms(outside)} outside the budget"] if outside else []


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
    return [f"{counted_arms(missing)} not compared with the reference"] if missing else []


def _unfinished(results: StudyResults) -> list[str]:
    count = int((results.cells["state"] != "done").sum())
    return [f"{count} of {len(results.cells)} cells gave no result"] if count else []


def convergence_sentences(tables: Tables) -> list[str]:
    """Return the sentences that name the arms and controls that had not converged, or may not have."""
    rows = records(tables.learning[~tables.learning["converged"]])
    rising = [row for row in rows if not np.isnan(row["rise"])]
    unknown = [code(row["arm"]) for row in rows if np.isnan(row["rise"])]
    sentences = []
    if rising:
        sentences.append(
            f"**Not converged**: {join_words([code(row['arm']) for row in rising])} still improved on the selection "
            f"split in the last fifth of the schedule, by "
            f"{join_words([unsigned_points(row['rise']) for row in rising])} points. Sentences about them are valid "
            "at this budget only."
        )
    if unknown:
        sentences.append(
            f"It is unknown whether {join_words(unknown)} had converged: there are too few evaluations."
        )
    return sentences


def not_converged(tables: Tables) -> set[str]:
    """Return the labels of the arms whose sentences need the condition "at this budget"."""
    return set(tables.learning.loc[~tables.learning["converged"], "arm"])


def counted_arms(number: int) -> str:
    """Return a number of arms with its verb: ``1 arm is``, ``3 arms are``."""
    return f"{plural(number, 'arm')} {_is_or_are(number)}"


def _is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"
