"""The ranks of the arms in a study and in its contexts, as tables and as sentences."""

from __future__ import annotations

import numpy as np

from fusion_bench.reporting.report.markdown import markdown_table
from fusion_bench.reporting.tables.formatting import DASH, MINUS, percent
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import StudyResults


def ranking_table(results: StudyResults, tables: Tables) -> str:
    """Return one row per arm, in the order of its rank in the study, with one column per context.

    Empty without contexts.
    """
    if not results.contexts:
        return ""
    own = tables.ranking[tables.ranking["context"] == ""]
    only_in_contexts = [arm for arm in dict.fromkeys(tables.ranking["arm"]) if arm not in set(own["arm"])]
    texts = {(row["context"], row["arm"]): _rank(row) for row in records(tables.ranking)}
    headings = {"": escape(results.name), **{label: escape(label) for label in results.contexts}}
    rows: list[Row] = [
        {"arm": arm, **{context: texts.get((context, arm), DASH) for context in headings}}
        for arm in [*own["arm"], *only_in_contexts]
    ]
    columns = {"arm": lambda row: code(row["arm"])} | {
        head: lambda row, context=context: row[context] for context, head in headings.items()
    }
    return markdown_table(rows, columns)


def agreement_table(tables: Tables) -> str:
    """Return one row per context: tau with its interval, and the tau between single seeds."""
    return markdown_table(
        records(tables.agreement),
        {
            "context": lambda row: escape(row["context"]),
            "arms": lambda row: str(row["arms"]),
            "Kendall's tau": lambda row: _tau(row["tau"]),
            "95 % interval": _interval,
            "between seeds of one context": lambda row: _tau(row["within"]),
            "between seeds, one of each": lambda row: _tau(row["across"]),
        },
    )


def agreement_sentences(tables: Tables) -> list[str]:
    """Return one sentence for all contexts; none without contexts."""
    values = [
        f"{escape(row['context'])} {_tau(row['tau'])} ({_interval(row)}; between single seeds "
        f"{_tau(row['within'])} within a context and {_tau(row['across'])} across)"
        for row in records(tables.agreement)
    ]
    if not values:
        return []
    return [f"**Does the ranking hold?** Kendall's tau of the ranking with that under {'; '.join(values)}."]


def _rank(row: Row) -> str:
    low, high = int(row["rank_low"]), int(row["rank_high"])
    return f"{int(row['rank'])} ({low} to {high}), {percent(row['estimate'])}"


def _tau(value: float) -> str:
    return DASH if np.isnan(value) else f"{value:.2f}".replace("-", MINUS)


def _interval(row: Row) -> str:
    return DASH if np.isnan(row["low"]) else f"{_tau(row['low'])} to {_tau(row['high'])}"
