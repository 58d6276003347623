"""The tables of numbers of a report as Markdown: the columns of each table and the text of its values."""

from __future__ import annotations

import numpy as np

from fusion_bench.reporting.report.markdown import Column, markdown_table, pivoted_table
from fusion_bench.reporting.tables.formatting import (
    DASH,
    count,
    level_percent,
    milliseconds,
    p_value,
    percent,
    percent_range,
    points,
    points_range,
    signed_percent,
)
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import ArmSummary, StudyResults


def means_tables(results: StudyResults, tables: Tables) -> list[tuple[str, str]]:
    """Return one table of the arms and one of the controls: primary metric, interval and cost.

    Returns:
        Pairs of heading and table.
    """
    arms = {arm.label: arm for arm in results.arms}
    planned = results.cells.groupby("arm", observed=True).size()
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        f"{escape(f'{results.primary_split} {results.primary}')}, %": lambda row: percent(row["estimate"]),
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
    rows = records(results.on_primary(tables.means))
    parts = {
        "Arms": [row for row in rows if row["role"] != "control"],
        "Controls": [row for row in rows if row["role"] == "control"],
    }
    return [(heading, markdown_table(part, columns)) for heading, part in parts.items() if part]


def floors_table(tables: Tables) -> str:
    """Return the accuracy of each arm minus each floor, one column per floor."""
    if tables.floors.empty:
        return ""
    floors = tables.floors.assign(key=tables.floors["name"] + " on " + tables.floors["split"])
    headings = {
        row["key"]: f"{escape(row['key'])}: {percent(row['floor'])} %"
        for row in records(floors.drop_duplicates("key"))
    }
    return pivoted_table(floors, headings, "key", _difference)


def floors_legend(results: StudyResults) -> list[str]:
    """Return one sentence per floor that describes it."""
    floors = results.floors.drop_duplicates(["name", "description"])
    return [f"*{escape(row['name'])}*: {escape(row['description'])}." for row in records(floors)]


def other_means_table(results: StudyResults, tables: Tables) -> str:
    """Return the means on all other splits and metrics, one column each."""
    keys = tables.means["split"] + " " + tables.means["metric"]
    rest = tables.means[keys != f"{results.primary_split} {results.primary}"].assign(key=keys)
    return pivoted_table(rest, {key: f"{escape(key)}, %" for key in rest["key"].unique()}, "key", _mean)


def comparisons_table(tables: Tables) -> str:
    """Return the differences from the reference on the primary metric, with verdicts."""
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        "difference, points": lambda row: points(row["estimate"]),
        "95 % interval" if tables.looks.empty else "interval": lambda row: points_range(
            row["low"], row["high"]
        ),
        "level": lambda row: level_percent(row["level"]),
        "look": lambda row: str(row["look"] or DASH),
        "Holm p": lambda row: p_value(row["p_holm"]),
        "p, outside the margin": lambda row: p_value(row["p_margin_holm"]),
        "seeds": lambda row: _seeds(row["seeds"], row["reference_seeds"]),
        "verdict": _verdict,
    }
    if tables.looks.empty:
        del columns["level"], columns["look"]
    if tables.comparisons["p_margin_holm"].isna().all():
        del columns["p, outside the margin"]
    return markdown_table(records(tables.comparisons), columns)


def controls_table(tables: Tables) -> str:
    """Return the difference of each arm from each control, one column per control.

    "(!)" marks a difference whose whole interval is not on the better side of zero, "(+)" an arm that beats every
    control when all arms are corrected together.
    """

    def marked(row: Row) -> str:
        mark = " (+)" if row["beats"] else "" if row["interval_better"] else " (!)"
        return _difference(row) + mark

    headings = {control: f"over {code(control)}" for control in tables.controls["control"].unique()}
    return pivoted_table(tables.controls, headings, "control", marked)


def differences_table(tables: Tables) -> str:
    """Return the differences on other splits and metrics, without verdicts."""
    keys = tables.differences["split"] + " " + tables.differences["metric"]
    headings = {key: f"{escape(key)}, points" for key in keys.unique()}
    return pivoted_table(tables.differences.assign(key=keys), headings, "key", _difference)


def learning_table(tables: Tables) -> str:
    """Return the convergence of each arm."""
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        "rise in the last fifth, points": lambda row: points(row["rise"]),
        "epochs": lambda row: _number(row["epochs"]),
        "best epoch": lambda row: _number(row["best_epoch"]),
        "converged": lambda row: (
            "yes" if row["converged"] else "unknown" if np.isnan(row["rise"]) else "**no**"
        ),
    }
    return markdown_table(records(tables.learning), columns)


def slices_tables(tables: Tables) -> list[tuple[str, str]]:
    """Return one table per slice column, with one column per value of it.

    Returns:
        Pairs of heading and table.
    """
    titled = []
    for name in tables.slices["slice"].unique():
        part = tables.slices[tables.slices["slice"] == name]
        sizes = part.drop_duplicates("value")
        headings = {row["value"]: f"{escape(row['value'])} (n = {row['samples']})" for row in records(sizes)}
        titled.append((escape(name), pivoted_table(part, headings, "value", _mean)))
    return titled


def repeated_slices(tables: Tables) -> str:
    """Return the slices that hold the samples of another one, as an enumeration; empty if there are none."""
    return "; ".join(
        f"{escape(row['slice'])} *{escape(row['value'])}* "
        + (
            f"is {escape(row['same_slice'])} *{escape(row['same_value'])}*"
            if row["same_slice"]
            else "is all samples"
        )
        for row in records(tables.repeated)
    )


def expected_table(results: StudyResults, tables: Tables) -> str:
    """Return the expected (published or earlier) values beside the measured ones."""
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
    return markdown_table(rows, columns, 3)


def _mean(row: Row) -> str:
    interval = "" if np.isnan(row["low"]) else f" ({percent_range(row['low'], row['high'])})"
    return percent(row["estimate"]) + interval


def _difference(row: Row) -> str:
    interval = "" if np.isnan(row["low"]) else f" ({points_range(row['low'], row['high'])})"
    return points(row["estimate"]) + interval


def _parts(fusion: int | None, around: int | None) -> str:
    return DASH if fusion is None else f"{count(fusion)} + {count(around)}"


def _from_budget(arm: ArmSummary) -> str:
    distance = signed_percent(arm.budget_distance)
    return f"{distance}, not ranked" if arm.unranked else distance


def _verdict(row: Row) -> str:
    if row["verdict"]:
        return f"**{row['verdict']}**"
    return "control" if row["role"] == "control" else "not ranked"


def _seeds(own: int, reference: int) -> str:
    return str(own) if own == reference else f"{own} against {reference}"


def _number(value: float) -> str:
    return DASH if np.isnan(value) else f"{value:.3g}"
