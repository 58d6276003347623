"""Markdown tables from rows and column writers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
from tabulate import tabulate

from fusion_bench.reporting.tables.formatting import DASH
from fusion_bench.reporting.tables.markdown_text import code
from fusion_bench.reporting.tables.tables import Row, records

Column = Callable[[Row], str]
"""The text of one cell of a table, from its row."""


def markdown_table(rows: Sequence[Row], columns: Mapping[str, Column], left: int = 1) -> str:
    """Return a Markdown table; empty without rows.

    Args:
        rows: the rows.
        columns: heading -> the writer of the column.
        left: how many of the first columns hold words and are aligned left; the others are aligned right.
    """
    if not rows:
        return ""
    texts = [[write(row) for write in columns.values()] for row in rows]
    sides = ["left" if place < left else "right" for place in range(len(columns))]
    # The texts are final: tabulate must neither parse nor align their numbers.
    return tabulate(texts, headers=list(columns), tablefmt="pipe", colalign=sides, disable_numparse=True)


def pivoted_table(table: pd.DataFrame, headings: Mapping[str, str], by: str, write: Column) -> str:
    """Return a Markdown table with one row per arm, in order of appearance.

    Args:
        table: tidy rows with the columns ``arm`` and ``by``.
        headings: value of ``by`` -> heading of its column.
        by: the column of ``table`` whose values become columns.
        write: the writer of a row of ``table``.
    """
    rows: dict[str, dict[str, Any]] = {}
    for row in records(table):
        rows.setdefault(row["arm"], {})[row[by]] = write(row)
    columns: dict[str, Column] = {"arm": lambda row: code(row["arm"])}
    columns |= {heading: partial(_value, value) for value, heading in headings.items()}
    return markdown_table([{"arm": arm, "values": values} for arm, values in rows.items()], columns)


def _value(key: str, row: Row) -> str:
    written: str = row["values"].get(key, DASH)
    return written
