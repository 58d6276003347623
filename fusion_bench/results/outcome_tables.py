"""Tidy tables of the outcomes: states of the cells, metric values, samples and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fusion_bench.cells.result import CellResult, Outcome
from fusion_bench.results.shared_texts import joined, sorted_categorical
from fusion_bench.study.cell_status import CellStatus

_CELL_COLUMNS = ["arm", "role", "seed", "cell"]


def _cell_columns(status: CellStatus) -> dict[str, Any]:
    cell = status.cell
    return {"arm": cell.arm, "role": cell.role, "seed": cell.seed, "cell": cell.id}


def cell_state_table(statuses: Sequence[CellStatus], outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """Return one row per planned cell: arm, role, seed, cell, state, reason, epochs, best_epoch, seconds."""
    rows = []
    for status in statuses:
        outcome = outcomes.get(status.cell.id)
        rows.append(
            {
                **_cell_columns(status),
                "state": status.state,
                "reason": status.reason,
                "epochs": outcome.result.epochs if outcome else None,
                "best_epoch": outcome.result.best_epoch if outcome else None,
                "seconds": outcome.timing.seconds if outcome else None,
            }
        )
    return pd.DataFrame(rows, columns=[*_CELL_COLUMNS, "state", "reason", "epochs", "best_epoch", "seconds"])


def metric_values(statuses: Sequence[CellStatus], found: Mapping[str, CellResult]) -> pd.DataFrame:
    """Return one row per finished cell, split and metric: arm, role, seed, cell, split, metric, value."""
    rows = []
    for status in statuses:
        if status.cell.id in found:
            for name, value in sorted(found[status.cell.id].metrics.items()):
                split, _, metric = name.partition("/")
                rows.append({**_cell_columns(status), "split": split, "metric": metric, "value": value})
    return pd.DataFrame(rows, columns=[*_CELL_COLUMNS, "split", "metric", "value"])


def split_samples(statuses: Sequence[CellStatus], found: Mapping[str, pa.Table]) -> pd.DataFrame:
    """Return the samples of finished cells (`CellFolder.samples_of`), at least one, with arm and seed first.

    The tables are joined before they become one DataFrame: making one for each of a thousand cells takes seconds.
    """
    parts = []
    for status in statuses:
        if status.cell.id in found:
            part = found[status.cell.id]
            part = part.add_column(0, "seed", pa.array([status.cell.seed] * len(part), pa.int64()))
            parts.append(part.add_column(0, "arm", pa.array([status.cell.arm] * len(part), pa.string())))
    if all(part.schema == parts[0].schema for part in parts):
        joined: pd.DataFrame = pa.concat_tables(parts).to_pandas()
        return joined
    frames: list[pd.DataFrame] = [part.to_pandas() for part in parts]
    return pd.concat(frames, ignore_index=True)


def cell_tables(statuses: Sequence[CellStatus], outcomes: Mapping[str, Outcome], table: str) -> pd.DataFrame:
    """Return one table (``samples`` or ``curves``) of all finished cells, with the columns arm and seed first.

    Arms are categories, and so are the texts of outcomes that share them (`fusion_bench.results.shared_texts`).
    """
    done = [status.cell for status in statuses if status.cell.id in outcomes]
    parts: list[pd.DataFrame] = [getattr(outcomes[cell.id], table) for cell in done]
    together = joined(parts)
    codes, labels = pd.factorize(pd.Series([cell.arm for cell in done], dtype="str"))
    sizes = [len(part) for part in parts]
    together.insert(0, "arm", pd.Series(sorted_categorical(np.repeat(codes, sizes), labels)))
    together.insert(1, "seed", np.repeat(np.array([cell.seed for cell in done], dtype=np.int64), sizes))
    return together
