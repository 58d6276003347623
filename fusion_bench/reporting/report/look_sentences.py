"""The table of looks of a report, and its sentences on arms that stopped early, are left out or are still open."""

from __future__ import annotations

import numpy as np

from fusion_bench.reporting.report.markdown import Column, markdown_table
from fusion_bench.reporting.tables.formatting import (
    DASH,
    join_words,
    level_percent,
    p_value,
    plural,
    points,
    points_range,
    unsigned_points,
)
from fusion_bench.reporting.tables.markdown_text import code
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import FEWEST_SEEDS


def planned_text(results: StudyResults) -> str:
    """Return ``3, 5, 8 and 12 seeds``; empty without looks."""
    stages = results.stages
    return "" if stages is None else f"{join_words([str(look.seeds) for look in stages.planned])} seeds"


def looks_markdown(tables: Tables) -> str:
    """Return one row per look; empty without looks."""
    columns: dict[str, Column] = {
        "look": lambda row: str(row["look"]),
        "seeds": lambda row: str(row["seeds"]),
        "level": lambda row: level_percent(row["alpha"]),
        "state": lambda row: row["state"],
        "open before": lambda row: _labels(row["open_before"]),
        "better / worse / equivalent": _found,
        "open after": lambda row: _labels(row["open_after"]) if row["state"] == "taken" else DASH,
        "left out": lambda row: _labels(row["left_out"]),
        "prior, points": lambda row: (
            DASH if np.isnan(row["prior_variance"]) else unsigned_points(row["prior_variance"] ** 0.5)
        ),
        "its degrees": lambda row: DASH if np.isnan(row["prior_degrees"]) else f"{row['prior_degrees']:.1f}",
    }
    return markdown_table(records(tables.looks), columns)


def look_comparisons_markdown(tables: Tables) -> str:
    """Return one row per look and arm that it compared; empty without one."""
    columns: dict[str, Column] = {
        "look": lambda row: str(row["look"]),
        "arm": lambda row: code(row["arm"]),
        "difference, points": lambda row: points(row["estimate"]),
        "interval at the level of the look": lambda row: points_range(row["low"], row["high"]),
        "Holm p": lambda row: p_value(row["p_holm"]),
        "p, outside the margin": lambda row: p_value(row["p_margin_holm"]),
        "verdict": lambda row: "open" if row["verdict"] == "underpowered" else f"**{row['verdict']}**",
    }
    if tables.look_comparisons["p_margin_holm"].isna().all():
        del columns["p, outside the margin"]
    return markdown_table(records(tables.look_comparisons.sort_values("look", kind="stable")), columns, 2)


def looks_note(results: StudyResults) -> list[str]:
    """Return how verdicts, p-values and intervals of a study with looks are read; nothing without looks."""
    stages = results.stages
    if stages is None:
        return []
    levels = join_words([level_percent(look.alpha) for look in stages.planned])
    return [
        f"Looks at {planned_text(results)} spend {levels} of the error rate of 5 %. An arm stands with its last "
        "look: its p-value (Holm, over the arms that were open) is compared with the level of that look, and the "
        "interval of its difference has 100 % less that level. An arm stops where its difference happens to be "
        "large, so the estimate of an arm that stopped before the last look is exaggerated."
    ]


def first_look_note(tables: Tables) -> list[str]:
    """Return the sentence on numbers that use the cells of the first look alone; nothing without looks."""
    return ["The cells are those of the first look, which all arms have."] if len(tables.looks) else []


def look_text(row: Row) -> str:
    """Return ``at look 2 (level 0.83 %), ``; empty for a row of no look."""
    return f"at look {row['look']} (level {level_percent(1 - row['level'])}), " if row["look"] else ""


def look_sentences(results: StudyResults, tables: Tables) -> list[str]:
    """Return the paragraphs on arms that stopped early, that are left out, and that wait; none without looks."""
    if results.stages is None:
        return []
    return [
        *_stopped(tables, len(results.stages.planned)),
        *_left_out(results, tables),
        *_waiting(results, tables),
    ]


def look_limits(results: StudyResults, tables: Tables) -> list[str]:
    """Return the same as short clauses with counts."""
    stages = results.stages
    if stages is None:
        return []
    early, left = _early(tables, len(stages.planned)), _lacking(tables)
    clauses = []
    if early:
        clauses.append(f"{plural(len(early), 'estimate')} exaggerated by stopping early")
    if left:
        clauses.append(f"{plural(len(left), 'arm')} left out of a look")
    if (tables.looks["state"] == "next").any():
        clauses.append("the next look is not taken")
    return clauses


def _early(tables: Tables, planned: int) -> list[str]:
    rows = tables.comparisons[tables.comparisons["verdict"].isin(["better", "worse"])]
    return list(rows.loc[rows["look"].between(1, planned - 1), "arm"])


def _lacking(tables: Tables) -> list[str]:
    return [arm for row in records(tables.looks) for arm in row["left_out"]]


def _stopped(tables: Tables, planned: int) -> list[str]:
    arms = [code(arm) for arm in _early(tables, planned)]
    if not arms:
        return []
    return [
        f"**Exaggerated**: {join_words(arms)} stopped before the last look, where the difference happened to be "
        "large, so the true one is likely smaller than what was measured."
    ]


def _left_out(results: StudyResults, tables: Tables) -> list[str]:
    sentences = []
    ended = results.cells[~results.cells["state"].isin(["done", "missing"])]
    for row in records(tables.looks):
        for arm in row["left_out"]:
            own = ended[(ended["arm"] == arm) & (ended["seed"] < row["seeds"])]
            cells = [f"seed {cell['seed']} is {cell['state']}" for cell in records(own)]
            why = f" ({join_words(cells)})" if cells else ""
            sentences.append(
                f"**Left out of look {row['look']}**: {code(arm)} lacks a seed that the reference has{why}. It gets "
                "no more seeds, and a verdict, if it has one, from an earlier look; `run --retry-failed` tries again."
            )
    return sentences


def _waiting(results: StudyResults, tables: Tables) -> list[str]:
    rows = records(tables.looks[tables.looks["state"] == "next"])
    if not rows:
        return []
    seeds, arms = rows[0]["seeds"], [code(arm) for arm in rows[0]["open_before"]]
    missing = int((results.cells["state"] == "missing").sum())
    reference = results.cells[(results.cells["arm"] == results.reference) & (results.cells["seed"] < seeds)]
    done = int((reference["state"] == "done").sum())
    why = (
        f"it waits for {plural(missing, 'cell')}"
        if missing
        else f"the reference has {plural(done, 'finished seed')}, and a look needs {FEWEST_SEEDS}"
    )
    return [
        f"**The next look, at {seeds} seeds, is not taken**: {why}. Open: {join_words(arms) if arms else DASH}."
    ]


def _labels(arms: tuple[str, ...]) -> str:
    return ", ".join(map(code, arms)) or DASH


def _found(row: Row) -> str:
    if row["state"] != "taken":
        return DASH
    return f"{row['better']} / {row['worse']} / {row['equivalent']}"
