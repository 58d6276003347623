"""The published table of predictions: one row per sample, one column per cell.

The long table repeats sample, cluster, truth and slices for every cell. Its scores follow from prediction and truth
if the task scores by equality. The wide table stores each of them once, so that 300,000 predictions are small
enough for a git repository.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fusion_bench.errors import FusionBenchError

_PREDICTION, _SCORE, _MEASURE = "prediction/", "score/", "measure/"
SHARED_COLUMNS = ("split", "sample", "cluster", "truth")
"""The columns that the published table has beside the slices and the columns of each cell."""


def pivot_samples(samples: pd.DataFrame, slices: Sequence[str], measures: Sequence[str] = ()) -> pa.Table:
    """Return the long table (`StudyResults.samples`) with one row per split and sample, sorted.

    Columns: ``split, sample, cluster, truth``, the slices, and per cell ``prediction/<arm>/<seed>``; also
    ``score/<arm>/<seed>`` unless every score is 1.0 for a prediction equal to the truth and 0.0 otherwise, and
    ``measure/<name>/<arm>/<seed>`` for each measure of the task.

    Raises:
        FusionBenchError: two cells disagree on the cluster, truth or slices of a sample, or a prediction is missing.
    """
    if samples["prediction"].isna().any():
        raise FusionBenchError("an evaluated sample has no prediction; run the cell that holds it again")
    shared = [*SHARED_COLUMNS, *slices]
    position, keys = pd.factorize(pd.MultiIndex.from_frame(samples[["split", "sample"]]), sort=True)
    first = np.zeros(len(keys), dtype=np.intp)
    first[position[::-1]] = np.arange(len(samples))[::-1]
    for column in shared:
        codes = pd.factorize(samples[column])[0]
        if not np.array_equal(codes, codes[first][position]):
            raise FusionBenchError(f"cells disagree on the {column} of a sample: they used different data")
    table = pa.Table.from_pandas(samples[shared].iloc[first], preserve_index=False)
    prediction, predictions = pd.factorize(samples["prediction"], sort=True)
    score = samples["score"].to_numpy(dtype=np.float64)
    by_equality = bool((score == (samples["prediction"] == samples["truth"])).all())
    numbers = {} if by_equality else {_SCORE: score}
    numbers |= {f"{_MEASURE}{name}/": samples[name].to_numpy(dtype=np.float64) for name in measures}
    cell, cells = pd.factorize(pd.MultiIndex.from_frame(samples[["arm", "seed"]]))
    for number, (arm, seed) in enumerate(cells):
        rows = np.flatnonzero(cell == number)
        codes = np.full(len(keys), -1, dtype=np.int32)
        # The dictionary holds the predictions of this cell only: where nearly all predictions differ (boxes), one of
        # all cells would be written once per cell.
        own_codes, codes[position[rows]] = np.unique(prediction[rows], return_inverse=True)
        encoded = pa.DictionaryArray.from_arrays(
            pa.array(codes, mask=codes < 0), pa.array(predictions[own_codes])
        )
        table = table.append_column(f"{_PREDICTION}{arm}/{seed}", encoded)
        for column, values in numbers.items():
            of_cell = np.full(len(keys), np.nan)
            of_cell[position[rows]] = values[rows]
            table = table.append_column(f"{column}{arm}/{seed}", pa.array(of_cell, mask=np.isnan(of_cell)))
    return table


def unpivot_samples(table: pa.Table, measures: Sequence[str] = ()) -> pd.DataFrame:
    """Return the long table of a table by `pivot_samples`: cells in column order, samples in row order."""
    shared_names = [
        name for name in table.column_names if not name.startswith((_PREDICTION, _SCORE, _MEASURE))
    ]
    shared: pd.DataFrame = table.select(shared_names).to_pandas()
    parts = [_cell(table, shared, cell, measures) for cell in cells_of(table)]
    if not parts:
        numbers = dict.fromkeys(("score", *measures), 0.0)
        return shared.assign(arm="", seed=0, prediction="", **numbers).iloc[:0]
    return pd.concat(parts, ignore_index=True)


def cells_of(table: pa.Table) -> list[str]:
    """Return the cells of a published table, as ``<arm>/<seed>``."""
    return [name.removeprefix(_PREDICTION) for name in table.column_names if name.startswith(_PREDICTION)]


def number_columns(table: pa.Table, cell: str, measures: Sequence[str]) -> list[str]:
    """Return the columns of a published table that hold the numbers of a cell."""
    score = [_SCORE + cell] if _SCORE + cell in table.column_names else []
    return [*score, *(f"{_MEASURE}{name}/{cell}" for name in measures)]


def _cell(table: pa.Table, shared: pd.DataFrame, cell: str, measures: Sequence[str]) -> pd.DataFrame:
    predictions = table.column(_PREDICTION + cell).combine_chunks()
    present: npt.NDArray[np.bool_] = predictions.is_valid().to_numpy(zero_copy_only=False)
    arm, _, seed = cell.rpartition("/")
    rows = shared[present].assign(arm=arm, seed=int(seed))
    rows["prediction"] = predictions.cast(pa.string()).filter(pa.array(present)).to_pandas().to_numpy()
    if _SCORE + cell in table.column_names:
        rows["score"] = table.column(_SCORE + cell).to_numpy()[present]
    else:
        rows["score"] = (rows["prediction"] == rows["truth"]).astype(np.float64)
    for name in measures:
        rows[name] = table.column(f"{_MEASURE}{name}/{cell}").to_numpy()[present]
    return rows
