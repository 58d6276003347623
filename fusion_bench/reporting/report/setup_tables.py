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
    rows = [
        {"arm": arm.label, "chosen": arm.searched, "trials": arm.search_trials}
        for arm in arms
        if arm.searched
    ]
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        "chosen": lambda row: _settings(row["chosen"]),
        "trials": lambda row: str(row["trials"] or DASH),
    }
    return markdown_table(rows, columns, 2)


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


def _settings(settings: Mapping[str, Any], searched: Collection[str] = ()) -> str:
    """Return ``depth = 2, kernel_size = 5 (chosen by search)``."""
    return ", ".join(
        f"{escape(name)} = {escape(str(value))}{' (chosen by search)' if name in searched else ''}"
        for name, value in settings.items()
    )
