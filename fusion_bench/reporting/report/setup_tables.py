"""The tables of a report that say what was compared, on what machine, and which cells gave no result."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fusion_bench.reporting.report.markdown import Column, markdown_table
from fusion_bench.reporting.tables.formatting import DASH
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import Tables, records
from fusion_bench.results.results import ArmSummary, StudyResults


def setup_table(results: StudyResults) -> str:
    """Return the setup of the study: pairs of heading and sentence."""
    rows = [{"heading": heading, "sentence": sentence} for heading, sentence in results.setup]
    columns: dict[str, Column] = {
        "": lambda row: f"**{escape(row['heading'])}**",
        " ": lambda row: escape(row["sentence"]),
    }
    return markdown_table(rows, columns, 2)


_MOST_STEPS = 6


def arms_table(arms: Sequence[ArmSummary]) -> str:
    """Return the description of each arm."""
    rows = [{"summary": arm} for arm in arms]
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["summary"].label),
        "role": lambda row: escape(row["summary"].role),
        "component": lambda row: _component(row["summary"]),
        "language input": lambda row: escape(row["summary"].listens),
        "position code": lambda row: escape(row["summary"].position_code),
        "paper": lambda row: escape(row["summary"].citation) or DASH,
    }
    return markdown_table(rows, columns, len(columns))


def searched_table(arms: Sequence[ArmSummary]) -> str:
    """Return the settings that the search chose for each arm; empty without a search."""
    rows = [{"summary": arm} for arm in arms if arm.searched]
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["summary"].label),
        "chosen": lambda row: _settings(row["summary"].searched),
        "trials": lambda row: str(row["summary"].search_trials or DASH),
    }
    if any(arm.search_steps for arm in arms):
        columns["training steps"] = lambda row: f"{row['summary'].search_steps or 0:,}"
    if any(arm.search_history for arm in arms):
        columns["best value so far (trial)"] = lambda row: _history(row["summary"].search_history)
    if any(arm.search_importances for arm in arms):
        columns["which searched settings mattered"] = lambda row: _shares(row["summary"].search_importances)
    return markdown_table(rows, columns, 2)


def searched_note(arms: Sequence[ArmSummary]) -> str:
    """Return what the columns of `searched_table` mean, with a caution; empty where the table has no such columns."""
    notes = []
    if any(arm.search_steps for arm in arms):
        notes.append(
            "Training steps are those planned for all trials and seeds of the arm's search, also for trials that "
            "failed."
        )
    if any(arm.search_history for arm in arms):
        notes.append(
            "The best value so far is that of the selection metric, at each trial that found a better one (numbered "
            "from 0, as Optuna does). Optuna's journals in `search/` of the study's folder hold all trials; "
            "optuna-dashboard shows them, and MLflow's experiment `STUDY/search`."
        )
    if any(arm.search_importances for arm in arms):
        notes.append(
            "Which searched settings mattered for an arm: the share of the variance of its trials' values that each "
            "setting explains (fANOVA, on the trials trained in full). It is a hint from few trials, which gather "
            "where the sampler found good values. It depends on the ranges that were searched, and it does not "
            "answer an ablation."
        )
    return " ".join(notes)


def unfinished_table(tables: Tables) -> str:
    """Return the failed, stale and missing cells with the reason."""
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        "seed": lambda row: str(row["seed"]),
        "state": lambda row: f"**{escape(row['state'])}**",
        "reason": lambda row: escape(str(row["reason"] or "")) or DASH,
        "cell": lambda row: code(row["cell"]),
    }
    return markdown_table(records(tables.unfinished), columns, len(columns))


def environment_table(results: StudyResults) -> str:
    """Return the machine and the versions."""
    rows = [{"name": name, "value": value} for name, value in results.environment.items()]
    return markdown_table(
        rows, {"": lambda row: escape(row["name"]), " ": lambda row: escape(str(row["value"]))}, 2
    )


def _component(arm: ArmSummary) -> str:
    # A report of an earlier version has the written value of a searched setting among its factors.
    settings = _settings({**arm.factors, **arm.searched}, arm.searched)
    return escape(arm.component) + (f": {settings}" if settings else "")


def _history(history: Sequence[tuple[int, float]]) -> str:
    """Return ``0.412 (1), 0.48 (5), 0.51 (12)``; of a long history the start and the end."""
    parts = [f"{value:.4g} ({number})" for number, value in history]
    shown = parts if len(parts) <= _MOST_STEPS else [*parts[:2], "...", *parts[2 - _MOST_STEPS :]]
    return ", ".join(shown) or DASH


def _shares(importances: Mapping[str, float]) -> str:
    """Return ``kernel_size 71 %, train.learning_rate 20 %``; a dash where nothing is known."""
    return ", ".join(f"{escape(name)} {share:.0%}" for name, share in importances.items()) or DASH


def _settings(settings: Mapping[str, Any], searched: Collection[str] = ()) -> str:
    """Return ``depth = 2, kernel_size = 5 (chosen by search)``."""
    return ", ".join(
        f"{escape(name)} = {escape(str(value))}{' (chosen by search)' if name in searched else ''}"
        for name, value in settings.items()
    )
