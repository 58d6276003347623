"""Reads the tables of a published folder; a table that is not one of a study is refused in one sentence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.published_study import inside
from fusion_bench.reporting.tables.samples_table import (
    SHARED_COLUMNS,
    cells_of,
    number_columns,
    unpivot_samples,
)
from fusion_bench.results.results import FLOOR_SCORES, no_floor_scores

_NUMBERS = ("score", "epochs", "best_epoch", "seconds", "value", "epoch", "samples_seen")
_WHOLE = ("seed",)

FLOORS_FILE = "floors.parquet"
"""The file of the scores of the floors."""


def read_table(folder: Path, name: str, columns: Sequence[str], labels: Collection[str]) -> pd.DataFrame:
    """Return the table in the file ``name`` of a published folder.

    Args:
        folder: the published folder.
        name: the name of the file.
        columns: the columns that the table must have, ``arm`` among them.
        labels: the labels of the arms of the study.

    Raises:
        FusionBenchError: the file is missing or damaged, lies outside the folder, or is no such table.
    """
    table = read_parquet(folder, name)
    for column in columns:
        _check_column(folder / name, table, column, number=column in _NUMBERS, whole=column in _WHOLE)
    frame: pd.DataFrame = table.select(columns).to_pandas()
    _check_arms(folder / name, frame["arm"].unique(), labels)
    return frame


def read_floor_scores(folder: Path) -> pd.DataFrame:
    """Return the scores of the floors of a published folder; empty if it has none (`StudyResults.floor_scores`).

    Raises:
        FusionBenchError: the file is damaged, lies outside the folder, or is no such table.
    """
    if not inside(folder, FLOORS_FILE).is_file():
        return no_floor_scores()
    table = read_parquet(folder, FLOORS_FILE)
    for column in FLOOR_SCORES:
        _check_column(folder / FLOORS_FILE, table, column, number=column in _NUMBERS)
    frame: pd.DataFrame = table.select(FLOOR_SCORES).to_pandas()
    return frame


def read_samples(
    folder: Path, slices: Sequence[str], measures: Sequence[str], labels: Collection[str]
) -> pd.DataFrame:
    """Return the predictions of a published folder as a long table (`StudyResults.samples`).

    Args:
        folder: the published folder.
        slices: the slice columns of the study.
        measures: the columns of numbers that the task of the study adds.
        labels: the labels of the arms of the study.

    Raises:
        FusionBenchError: the file is missing or damaged, lies outside the folder, or is no such table.
    """
    file = folder / "samples.parquet"
    table = read_parquet(folder, "samples.parquet")
    for column in (*SHARED_COLUMNS, *slices):
        _check_column(file, table, column)
    for cell in cells_of(table):
        arm, _, seed = cell.rpartition("/")
        if not (seed.isascii() and seed.isdigit()):
            raise FusionBenchError(f"{file} names a cell {cell[:80]!r}, which is no label with a seed")
        _check_arms(file, [arm], labels)
        _check_column(file, table, f"prediction/{cell}")
        for column in number_columns(table, cell, measures):
            _check_column(file, table, column, number=True)
    return unpivot_samples(table, measures)


def read_parquet(folder: Path, name: str) -> pa.Table:
    """Return the table in a file of a published folder.

    Raises:
        FusionBenchError: the file is missing or damaged, or lies outside the folder.
    """
    path = inside(folder, name)
    if not path.is_file():
        raise FusionBenchError(f"{path} does not exist; the folder is not a complete published report")
    try:
        return pq.read_table(path, partitioning=None)  # a "=" in the folder's path adds no column
    except (pa.ArrowException, OSError) as error:
        raise FusionBenchError(f"{path} is damaged: {str(error)[:300]}") from error


def _check_column(
    file: Path, table: pa.Table, name: str, *, number: bool = False, whole: bool = False
) -> None:
    if len(table.schema.get_all_field_indices(name)) != 1:
        raise FusionBenchError(f"{file} is no table of a study: it lacks the column {name[:80]!r}")
    kind = table.schema.field(name).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if whole:
        right = pa.types.is_integer(kind) and not table.column(name).null_count
    elif number:
        right = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
    else:
        right = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    if not right:
        wanted = "whole numbers" if whole else "numbers" if number else "text"
        raise FusionBenchError(f"{file} is no table of a study: {name[:80]!r} holds {kind}, not {wanted}")


def _check_arms(file: Path, arms: Collection[str], labels: Collection[str]) -> None:
    unknown = [str(arm) for arm in arms if arm not in labels]
    if unknown:
        raise FusionBenchError(f"{file} has results of {unknown[0][:80]!r}, which is no arm of study.json")
