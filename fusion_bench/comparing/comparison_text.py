"""A comparison of reports as Markdown, and its files."""

from __future__ import annotations

from pathlib import Path

from fusion_bench.comparing.compare import ReportComparison
from fusion_bench.reporting.report.markdown import Column, markdown_table
from fusion_bench.reporting.tables.formatting import (
    DASH,
    join_words,
    margin_text,
    p_value,
    percent,
    percent_range,
    plural,
    points,
    points_range,
)
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import Row, records
from fusion_bench.storage import replacing, write_text

NAME = "comparison"


def comparison_markdown(comparison: ReportComparison) -> str:
    """Return the comparison as Markdown: what was compared, the table, and what is to be said of it."""
    results = comparison.joined.results
    metric = escape(f"{results.primary_split} {results.primary}")
    mean = comparison.reference_mean
    interval = f" (95 % interval {percent_range(mean['low'], mean['high'])})"
    several = len(comparison.reports) > 1
    parts = [
        f"# {join_words([code(name) for name in comparison.reports])}",
        f"Differences from {code(results.reference)} in {metric}, which has {percent(mean['estimate'])} %{interval}, "
        f"on {plural(int(mean['samples']), 'sample')} of {plural(int(mean['clusters']), escape(results.cluster))}.",
        _table(comparison, metric),
        _not_compared(comparison),
        _method(comparison),
        *(["The arms are paired by sample and seed across the reports."] if several else []),
        *(escape(note) for note in comparison.notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(comparison: ReportComparison, metric: str) -> str:
    several = len(comparison.reports) > 1
    columns: dict[str, Column] = {"arm": lambda row: code(row["arm"])}
    if several:
        columns["report"] = lambda row: ", ".join(map(code, comparison.joined.homes[row["arm"]]))
    columns |= {
        f"{metric}, %": lambda row: percent(row["mean"]),
        "difference, points": lambda row: points(row["estimate"]),
        _interval_heading(comparison): lambda row: points_range(row["low"], row["high"]),
        "seeds": _seeds,
        "Holm p": lambda row: p_value(row["p_holm"]),
        "verdict": _verdict,
    }
    return markdown_table(records(comparison.table), columns, left=2 if several else 1)


def _not_compared(comparison: ReportComparison) -> str:
    arms = [code(arm) for arm in comparison.not_compared]
    if not arms:
        return ""
    verb = "shares" if len(arms) == 1 else "share"
    return f"Not compared: {join_words(arms)} {verb} no finished seed with the reference."


def _interval_heading(comparison: ReportComparison) -> str:
    alike = (comparison.table["level"] == 0.95).all()
    return "95 % interval" if alike else "interval of its look"


def _seeds(row: Row) -> str:
    same = row["seeds"] == row["reference_seeds"]
    return f"{row['seeds']}" if same else f"{row['seeds']} against {row['reference_seeds']}"


def _verdict(row: Row) -> str:
    if row["verdict"]:
        return "open" if row["verdict"] == "underpowered" else str(row["verdict"])
    return "control" if row["role"] == "control" else "not ranked"


def _method(comparison: ReportComparison) -> str:
    results = comparison.joined.results
    tested = int(comparison.table["p_holm"].notna().sum())
    margin = f" Equivalent: within {margin_text(results.margin)}." if results.margin is not None else ""
    if not tested:
        return f"No comparison has a verdict {DASH} it needs three seeds of each arm and several clusters."
    return (
        f"Intervals are about new seeds and new {escape(results.cluster)}s and are not corrected; Holm's correction "
        f"runs over {plural(tested, 'comparison')} at 5 %.{margin} An open comparison is no proof of equality."
    )


def write_comparison(comparison: ReportComparison, folder: Path) -> list[Path]:
    """Write ``comparison.md``, ``comparison.parquet`` and ``comparison.csv`` into a folder and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{NAME}.{ending}" for ending in ("md", "parquet", "csv")]
    write_text(files[0], comparison_markdown(comparison))
    with replacing(files[1]) as part:
        comparison.table.to_parquet(part, index=False, compression="zstd")
    write_text(files[2], comparison.table.to_csv(index=False))
    return files
