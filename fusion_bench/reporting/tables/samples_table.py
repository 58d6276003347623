"""Answers as they are published: a row per sample, a column per cell, so that 300,000 fit into a git folder.

The long table repeats sample, cluster, truth and slices in every cell, and its scores follow from answer and
truth wherever the task scores by equality. The wide table keeps each of them once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fusion_bench.errors import FusionBenchError

_PREDICTION, _SCORE, _MEASURE = "prediction/", "score/", "measure/"
_ROW = ("split", "sample", "cluster", "truth")


def pivot_samples(samples: pd.DataFrame, slices: Sequence[str], measures: Sequence[str] = ()) -> pa.Table:
    """Turn the long table (`StudyResults.samples`) into one row per split and sample, sorted.

    Columns: ``split, sample, cluster, truth``, the slices, and per cell ``prediction/<arm>/<seed>``; also
    ``score/<arm>/<seed>`` unless every score is 1.0 for an answer equal to the truth and 0.0 otherwise, and
    ``measure/<name>/<arm>/<seed>`` for each of the task's measures.

    Raises:
        FusionBenchError: two cells disagree on a sample's cluster, truth or slices, or an answer is absent.
    """
    if samples["prediction"].isna().any():
        raise FusionBenchError("an evaluated sample has no prediction; the cell that holds it must run again")
    known = [*_ROW, *slices]
    place, keys = pd.factorize(pd.MultiIndex.from_frame(samples[["split", "sample"]]), sort=True)
    first = np.zeros(len(keys), dtype=np.intp)
    first[place[::-1]] = np.arange(len(samples))[::-1]
    for column in known:
        codes = pd.factorize(samples[column])[0]
        if not np.array_equal(codes, codes[first][place]):
            raise FusionBenchError(f"cells disagree on the {column} of a sample: they saw different data")
    table = pa.Table.from_pandas(samples[known].iloc[first], preserve_index=False)
    answer, answers = pd.factorize(samples["prediction"], sort=True)
    score = samples["score"].to_numpy(dtype=np.float64)
    by_equality = bool((score == (samples["prediction"] == samples["truth"])).all())
    numbers = {} if by_equality else {_SCORE: score}
    numbers |= {f"{_MEASURE}{name}/": samples[name].to_numpy(dtype=np.float64) for name in measures}
    cell, cells = pd.factorize(pd.MultiIndex.from_frame(samples[["arm", "seed"]]))
    for number, (arm, seed) in enumerate(cells):
        rows = np.flatnonzero(cell == number)
        codes = np.full(len(keys), -1, dtype=np.int32)
        # Of its own answers alone: where nearly every answer differs (boxes), those of all would be written per cell.
        own, codes[place[rows]] = np.unique(answer[rows], return_inverse=True)
        given = pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(answers[own]))
        table = table.append_column(f"{_PREDICTION}{arm}/{seed}", given)
        for column, values in numbers.items():
            scored = np.full(len(keys), np.nan)
            scored[place[rows]] = values[rows]
            table = table.append_column(f"{column}{arm}/{seed}", pa.array(scored, mask=np.isnan(scored)))
    return table


def unpivot_samples(table: pa.Table, measures: Sequence[str] = ()) -> pd.DataFrame:
    """`widen` undone: cells in the order of their columns, samples in the order of the rows."""
    own = [name for name in table.column_names if not name.startswith((_PREDICTION, _SCORE, _MEASURE))]
    shared: pd.DataFrame = table.select(own).to_pandas()
    cells = [name.removeprefix(_PREDICTION) for name in table.column_names if name.startswith(_PREDICTION)]
    parts = [_cell(table, shared, cell, measures) for cell in cells]
    if not parts:
        numbers = dict.fromkeys(("score", *measures), 0.0)
        return shared.assign(arm="", seed=0, prediction="", **numbers).iloc[:0]
    return pd.concat(parts, ignore_index=True)


def _cell(table: pa.Table, shared: pd.DataFrame, cell: str, measures: Sequence[str]) -> pd.DataFrame:
    answers = table.column(_PREDICTION + cell).combine_chunks()
    there: npt.NDArray[np.bool_] = answers.is_valid().to_numpy(zero_copy_only=False)
    arm, _, seed = cell.rpartition("/")
    rows = shared[there].assign(arm=arm, seed=int(seed))
    rows["prediction"] = answers.cast(pa.string()).filter(pa.array(there)).to_pandas().to_numpy()
    if _SCORE + cell in table.column_names:
        rows["score"] = table.column(_SCORE + cell).to_numpy()[there]
    else:
        rows["score"] = (rows["prediction"] == rows["truth"]).astype(np.float64)
    for name in measures:
        rows[name] = table.column(f"{_MEASURE}{name}/{cell}").to_numpy()[there]
    return rows
