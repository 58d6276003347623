"""The tidy tables as Markdown tables: what stands in which column, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from fusion_bench.reporting.tables.formatting import (
    DASH,
    code,
    count,
    escape,
    milliseconds,
    p_value,
    percent,
    percent_range,
    points,
    points_range,
    relative,
    size,
)
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import ArmSummary, StudyResults

Column = Callable[[Row], str]


def written_table(rows: Sequence[Row], columns: Mapping[str, Column], left: int = 1) -> str:
    """A Markdown table; its first ``left`` columns are words, the others numbers. Empty without rows."""
    if not rows:
        return ""
    cells = [[write(row) for write in columns.values()] for row in rows]
    sides = ["left" if place < left else "right" for place in range(len(columns))]
    # Cells are text already: tabulate must neither parse nor align their numbers.
    return tabulate(cells, headers=list(columns), tablefmt="pipe", colalign=sides, disable_numparse=True)


def setup_table(results: StudyResults) -> str:
    """What was compared on what and how."""
    rows = [{"heading": heading, "sentence": sentence} for heading, sentence in results.setup]
    columns: dict[str, Column] = {
        "": lambda row: f"**{escape(row['heading'])}**",
        " ": lambda row: escape(row["sentence"]),
    }
    return written_table(rows, columns, 2)


def arms_table(arms: Sequence[ArmSummary]) -> str:
    """What each arm is."""
    rows = [{"summary": arm} for arm in arms]
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["summary"].label),
        "role": lambda row: row["summary"].role,
        "what it is": lambda row: _what(row["summary"]),
        "listens to": lambda row: escape(row["summary"].listens),
        "position code": lambda row: escape(row["summary"].position_code),
        "paper": lambda row: escape(row["summary"].citation) or DASH,
    }
    return written_table(rows, columns, len(columns))


def searched_table(arms: Sequence[ArmSummary]) -> str:
    """What a search chose; empty without one."""
    rows = [
        {"arm": arm.label, "chosen": arm.searched, "trials": arm.search_trials}
        for arm in arms
        if arm.searched
    ]
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        "chosen": lambda row: _settings(row["chosen"]),
        "trials": lambda row: str(row["trials"]),
    }
    return written_table(rows, columns, 2)


def means_tables(results: StudyResults, tables: Tables) -> list[tuple[str, str]]:
    """The arms and, apart from them, the controls: how good, how sure, how dear."""
    own = (tables.means["split"] == results.primary_split) & (tables.means["metric"] == results.primary)
    arms = {arm.label: arm for arm in results.arms}
    planned = results.cells.groupby("arm", observed=True).size()
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        f"{results.primary_split} {results.primary}, %": lambda row: percent(row["estimate"]),
        "95 % interval": lambda row: percent_range(row["low"], row["high"]),
        "seeds": lambda row: f"{row['seeds']} of {planned.get(row['arm'], row['seeds'])}",
        "parameters": lambda row: _parts(
            arms[row["arm"]].fusion_parameters, arms[row["arm"]].around_parameters
        ),
        "multiply-adds": lambda row: _parts(
            arms[row["arm"]].fusion_multiply_adds, arms[row["arm"]].around_multiply_adds
        ),
        "latency, ms": lambda row: milliseconds(arms[row["arm"]].latency_ms),
    }
    if results.budget:
        columns["from the budget"] = lambda row: _from_budget(arms[row["arm"]])
    rows = records(tables.means[own])
    parts = {
        "Arms": [row for row in rows if row["role"] != "control"],
        "Controls": [row for row in rows if row["role"] == "control"],
    }
    return [(heading, written_table(part, columns)) for heading, part in parts.items() if part]


def floors_table(tables: Tables) -> str:
    """Each arm's accuracy less each floor."""
    if tables.floors.empty:
        return ""
    floors = tables.floors.assign(key=tables.floors["name"] + " on " + tables.floors["split"])
    heads = {
        row["key"]: f"{escape(row['key'])}: {percent(row['floor'])} %"
        for row in records(floors.drop_duplicates("key"))
    }
    return _wide(floors, heads, "key", _difference)


def floors_legend(results: StudyResults) -> list[str]:
    """What each floor is."""
    described = results.floors.drop_duplicates(["name", "description"])
    return [f"*{escape(row['name'])}*: {escape(row['description'])}." for row in records(described)]


def other_means_table(results: StudyResults, tables: Tables) -> str:
    """Means on every other split and metric, a column each."""
    keys = tables.means["split"] + " " + tables.means["metric"]
    rest = tables.means[keys != f"{results.primary_split} {results.primary}"].assign(key=keys)
    return _wide(rest, {key: f"{escape(key)}, %" for key in rest["key"].unique()}, "key", _mean)


def comparisons_table(tables: Tables) -> str:
    """The judged differences."""
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        "difference, points": lambda row: points(row["estimate"]),
        "95 % interval": lambda row: points_range(row["low"], row["high"]),
        "Holm p": lambda row: p_value(row["p_holm"]),
        "p, outside the margin": lambda row: p_value(row["p_margin_holm"]),
        "detectable": lambda row: size(row["detectable"]),
        "seeds": lambda row: str(row["seeds"]),
        "verdict": _verdict,
    }
    if tables.comparisons["p_margin_holm"].isna().all():
        del columns["p, outside the margin"]
    return written_table(records(tables.comparisons), columns)


def controls_table(tables: Tables) -> str:
    """Each arm's lead over each control, a column each; a lead in doubt is marked."""

    def lead(row: Row) -> str:
        return _difference(row) + ("" if row["ahead"] else " (!)")

    heads = {control: f"over {code(control)}" for control in tables.controls["control"].unique()}
    return _wide(tables.controls, heads, "control", lead)


def differences_table(tables: Tables) -> str:
    """The differences that nobody judges."""
    keys = tables.differences["split"] + " " + tables.differences["metric"]
    heads = {key: f"{escape(key)}, points" for key in keys.unique()}
    return _wide(tables.differences.assign(key=keys), heads, "key", _difference)


def learning_table(tables: Tables) -> str:
    """Convergence, arm by arm."""
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        "rise in the last fifth, points": lambda row: points(row["rise"]),
        "epochs": lambda row: _number(row["epochs"]),
        "best epoch": lambda row: _number(row["best_epoch"]),
        "converged": lambda row: (
            "yes" if row["converged"] else "unknown" if np.isnan(row["rise"]) else "**no**"
        ),
    }
    return written_table(records(tables.learning), columns)


def slices_tables(tables: Tables) -> list[tuple[str, str]]:
    """One table a slice column, a column a value."""
    found = []
    for name in tables.slices["slice"].unique():
        part = tables.slices[tables.slices["slice"] == name]
        sizes = part.drop_duplicates("value")
        heads = {row["value"]: f"{escape(row['value'])} (n = {row['samples']})" for row in records(sizes)}
        found.append((escape(name), _wide(part, heads, "value", _mean)))
    return found


def expected_table(results: StudyResults, tables: Tables) -> str:
    """Published or earlier values beside what was measured."""
    measured = tables.means[["arm", "metric", "split", "estimate", "low", "high"]]
    rows = records(results.expected.merge(measured, on=["arm", "metric", "split"], how="left", sort=False))
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        "metric": lambda row: f"{escape(row['split'])} {escape(row['metric'])}, %",
        "source": lambda row: escape(row["source"]),
        "expected": lambda row: percent(row["value"]),
        "measured": _mean,
        "difference, points": lambda row: points(row["estimate"] - row["value"]),
    }
    return written_table(rows, columns, 3)


def unfinished_table(tables: Tables) -> str:
    """Failed, stale and missing cells, with the reason."""
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        "seed": lambda row: str(row["seed"]),
        "state": lambda row: f"**{row['state']}**",
        "reason": lambda row: escape(str(row["reason"] or "")) or DASH,
        "cell": lambda row: code(row["cell"]),
    }
    return written_table(records(tables.unfinished), columns, len(columns))


def environment_table(results: StudyResults) -> str:
    """Machine and versions."""
    rows = [{"name": name, "value": value} for name, value in results.environment.items()]
    return written_table(
        rows, {"": lambda row: escape(row["name"]), " ": lambda row: escape(str(row["value"]))}, 2
    )


def _wide(table: pd.DataFrame, heads: Mapping[str, str], by: str, write: Column) -> str:
    """One row an arm, in order of appearance, one column for each of ``heads`` (value of ``by`` -> heading)."""
    rows: dict[str, dict[str, Any]] = {}
    for row in records(table):
        rows.setdefault(row["arm"], {})[row[by]] = write(row)
    columns: dict[str, Column] = {"arm": lambda row: code(row["arm"])}
    columns |= {head: partial(_cell, value) for value, head in heads.items()}
    return written_table([{"arm": arm, "cells": cells} for arm, cells in rows.items()], columns)


def _cell(value: str, row: Row) -> str:
    written: str = row["cells"].get(value, DASH)
    return written


def _mean(row: Row) -> str:
    interval = "" if np.isnan(row["low"]) else f" ({percent_range(row['low'], row['high'])})"
    return percent(row["estimate"]) + interval


def _difference(row: Row) -> str:
    interval = "" if np.isnan(row["low"]) else f" ({points_range(row['low'], row['high'])})"
    return points(row["estimate"]) + interval


def _parts(fusion: int | None, around: int | None) -> str:
    return DASH if fusion is None else f"{count(fusion)} + {count(around)}"


def _from_budget(arm: ArmSummary) -> str:
    distance = relative(arm.budget_distance)
    return f"{distance}, not ranked" if arm.unranked else distance


def _verdict(row: Row) -> str:
    if row["verdict"]:
        return f"**{row['verdict']}**"
    return "control" if row["role"] == "control" else "not ranked"


def _number(value: float) -> str:
    return DASH if np.isnan(value) else f"{value:.3g}"


def _what(arm: ArmSummary) -> str:
    settings = _settings(arm.factors)
    return escape(arm.component) + (f": {settings}" if settings else "")


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{escape(str(name))} = {escape(str(value))}" for name, value in settings.items())
