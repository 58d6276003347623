"""The table of a report's answer: one row per arm, the best first, and the note below it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_bench.reporting.report.baseline_sentences import missing_controls
from fusion_bench.reporting.report.look_sentences import looks_note
from fusion_bench.reporting.report.markdown import Column, markdown_table
from fusion_bench.reporting.tables.answer_rows import AnswerRow, answer_rows
from fusion_bench.reporting.tables.formatting import (
    DASH,
    p_value,
    percent,
    percent_range,
    points,
    points_range,
)
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import Row, Tables
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import FEWEST_SEEDS


def answer_table(results: StudyResults, tables: Tables) -> str:
    """Return one row per arm that has a result; empty without one."""
    rows = answer_rows(results, tables)
    columns: dict[str, Column] = {
        "place": lambda row: DASH if row["of"].place is None else str(row["of"].place),
        "arm": lambda row: code(row["of"].arm),
        f"{escape(f'{results.primary_split} {results.primary}')}, % (95 % interval)": _mean,
        f"difference, points ({'95 % ' if results.stages is None else ''}interval)": _difference,
        "Holm p": lambda row: (
            DASH if row["of"].difference is None else p_value(row["of"].difference["p_holm"])
        ),
        "verdict": lambda row: verdict_of(row["of"]),
        "look": lambda row: str((row["of"].difference or {}).get("look") or DASH),
        "ties": lambda row: row["of"].letters or DASH,
        "seeds": _seeds,
        "converged": lambda row: {True: "yes", False: "**no**", None: "unknown"}[row["of"].converged],
        "beats every control": lambda row: {True: "yes", False: "not shown", None: DASH}[row["of"].beats],
    }
    if results.stages is None:
        del columns["look"]
    if all(row.beats is None for row in rows):
        del columns["beats every control"]
    return markdown_table([{"of": row} for row in rows], columns, 2)


def answer_note(results: StudyResults, tables: Tables) -> str:
    """Return what the columns mean: which tests are corrected together, and why a place may be missing."""
    rows = answer_rows(results, tables)
    sentences = []
    if any(row.difference is not None for row in rows):
        sentences.append(
            f"Differences are from {code(results.reference)}. Intervals are not corrected for the number of "
            "comparisons; p-values are (Holm), and the verdict follows them."
        )
    sentences += looks_note(results)
    verdicts = set(tables.comparisons["verdict"])
    if "underpowered" in verdicts:
        sentences.append(
            "Underpowered is open: no difference is shown, which is no proof of equality; the one that a comparison "
            "finds with 80 % probability is that of the strictest step of the correction."
        )
    if "no verdict" in verdicts:
        without = "no part in a look" if results.stages is not None else f"fewer than {FEWEST_SEEDS} seeds"
        sentences.append(f"No verdict: {without}, or a single {escape(results.cluster)}.")
    if pairs := tables.ties.pairs():
        sentences.append("Ties: arms that share a letter cannot be told apart.")
        if pairs > 1:
            how = (
                "Holm"
                if results.stages is None
                else "Bonferroni, over the looks that both arms had a part in"
            )
            sentences.append(
                f"All {pairs} pairs of arms are tested, at 5 % for all together ({how}): a family of its own, larger "
                "than that of the verdicts, so an arm that is better or worse than the reference may still share its "
                "letter."
            )
    sentences += _about_seeds(rows) if results.stages is None else [_staged_seeds(results)]
    sentences += missing_controls(results, tables)
    if any(row.place is None for row in rows):
        sentences.append(
            f"No place: outside the budget, or fewer than {FEWEST_SEEDS} seeds in common with another arm."
        )
    return " ".join(sentences)


def _about_seeds(rows: Sequence[AnswerRow]) -> list[str]:
    """Return which seeds the means are over, where the arms have finished different ones."""
    sentences = []
    if any(row.finished > row.mean["seeds"] for row in rows):
        sentences.append(
            "Means are over the seeds that the comparisons use; finished seeds beyond these are left out."
        )
    means = {row.arm: row.mean["seeds"] for row in rows}
    reference = next((row.arm for row in rows if row.role == "reference"), "")
    compared = [(row.arm, row.difference) for row in rows if row.difference is not None]
    if any((of["seeds"], of["reference_seeds"]) != (means[arm], means[reference]) for arm, of in compared):
        sentences.append(
            "Places follow the differences. An arm that lacks seeds is compared over those that it shares with the "
            "other arm, so its mean may not agree with its place."
        )
    return sentences


def _staged_seeds(results: StudyResults) -> str:
    """Return which seeds the means and differences of a study with looks are over."""
    return (
        f"Places follow the differences. The mean of an arm is over the seeds of its last look, that of "
        f"{code(results.reference)} over those of all looks; a difference is over the seeds of the arm's last look "
        "on both sides, so it need not be the difference of the two means. Controls have the seeds of the first "
        "look, and arms are compared with them on these."
    )


def verdict_of(row: AnswerRow) -> str:
    """Return the verdict on an arm in words, also where there is none."""
    if row.role == "reference":
        return "reference"
    if row.difference is None:
        return "not compared"
    return f"**{row.difference['verdict']}**" if row.difference["verdict"] else "not ranked"


def _mean(row: Row) -> str:
    mean = row["of"].mean
    interval = "" if np.isnan(mean["low"]) else f" ({percent_range(mean['low'], mean['high'])})"
    return percent(mean["estimate"]) + interval


def _difference(row: Row) -> str:
    difference = row["of"].difference
    if difference is None:
        return DASH
    interval = (
        "" if np.isnan(difference["low"]) else f" ({points_range(difference['low'], difference['high'])})"
    )
    return points(difference["estimate"]) + interval


def _seeds(row: Row) -> str:
    seeds, planned = row["of"].mean["seeds"], row["of"].planned
    return str(seeds) if seeds == planned else f"{seeds} of {planned}"
