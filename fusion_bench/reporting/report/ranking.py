"""Does the ranking hold? The arms' ranks in a study and in its contexts, as tables and as sentences."""

from __future__ import annotations

import numpy as np

from fusion_bench.reporting.report.markdown import written_table
from fusion_bench.reporting.tables.formatting import DASH, MINUS, code, escape, percent
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import StudyResults


def ranking_table(results: StudyResults, tables: Tables) -> str:
    """A row per arm in the study's own order of ranks, a column per context; empty without contexts."""
    if not results.contexts:
        return ""
    own = tables.ranking[tables.ranking["context"] == ""]
    elsewhere = [arm for arm in dict.fromkeys(tables.ranking["arm"]) if arm not in set(own["arm"])]
    cells = {(row["context"], row["arm"]): _rank(row) for row in records(tables.ranking)}
    heads = {"": escape(results.name), **{label: escape(label) for label in results.contexts}}
    rows: list[Row] = [
        {"arm": arm, **{context: cells.get((context, arm), DASH) for context in heads}}
        for arm in [*own["arm"], *elsewhere]
    ]
    columns = {"arm": lambda row: code(row["arm"])} | {
        head: lambda row, context=context: row[context] for context, head in heads.items()
    }
    return written_table(rows, columns)


def agreement_table(tables: Tables) -> str:
    """A row per context: tau with its interval, and the yardstick between single seeds."""
    return written_table(
        records(tables.agreement),
        {
            "context": lambda row: escape(row["context"]),
            "arms": lambda row: str(row["arms"]),
            "Kendall's tau": lambda row: _tau(row["tau"]),
            "95 % interval": _interval,
            "between seeds, here": lambda row: _tau(row["within"]),
            "between seeds, here and there": lambda row: _tau(row["across"]),
        },
    )


def agreement_sentences(tables: Tables) -> list[str]:
    """One sentence for all contexts; none without contexts."""
    found = [
        f"{escape(row['context'])} {_tau(row['tau'])} ({_interval(row)}; single seeds agree to "
        f"{_tau(row['within'])} within the study and to {_tau(row['across'])} across)"
        for row in records(tables.agreement)
    ]
    if not found:
        return []
    return [f"**Does the ranking hold?** Kendall's tau with the ranking under {'; '.join(found)}."]


def _rank(row: Row) -> str:
    low, high = int(row["rank_low"]), int(row["rank_high"])
    return f"{int(row['rank'])} ({low} to {high}), {percent(row['estimate'])}"


def _tau(value: float) -> str:
    return DASH if np.isnan(value) else f"{value:.2f}".replace("-", MINUS)


def _interval(row: Row) -> str:
    return DASH if np.isnan(row["low"]) else f"{_tau(row['low'])} to {_tau(row['high'])}"
