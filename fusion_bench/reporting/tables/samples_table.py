"""The published table of predictions: one row per sample, one column per cell.

The long table repeats sample, cluster, truth and slices for every cell. Its scores follow from prediction and truth
if the task scores by equality. The wide table stores each of them once, so that 300,000 predictions are small
enough for a git repository.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fusion_bench.errors import FusionBenchError
from fusion_bench.results.shared_texts import as_texts, sorted_categorical, sorted_codes

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
    position, first = _groups(samples, ["split", "sample"])
    for column in shared:
        codes = pd.factorize(samples[column])[0]
        if not np.array_equal(codes, codes[first][position]):
            raise FusionBenchError(f"cells disagree on the {column} of a sample: they used different data")
    table = pa.Table.from_pandas(as_texts(samples[shared].iloc[first]), preserve_index=False)
    prediction, predictions = sorted_codes(samples["prediction"])
    score = samples["score"].to_numpy(dtype=np.float64)
    by_equality = bool((score == (samples["prediction"] == samples["truth"]).to_numpy()).all())
    numbers = {} if by_equality else {_SCORE: score}
    numbers |= {f"{_MEASURE}{name}/": samples[name].to_numpy(dtype=np.float64) for name in measures}
    columns = {name: table.column(name) for name in table.column_names}
    for label, rows in _rows_of_cells(samples):
        codes = np.full(len(first), -1, dtype=np.int32)
        # The dictionary holds the predictions of this cell only: where nearly all predictions differ (boxes), one of
        # all cells would be written once per cell.
        own_codes, codes[position[rows]] = np.unique(prediction[rows], return_inverse=True)
        columns[_PREDICTION + label] = pa.DictionaryArray.from_arrays(
            pa.array(codes, mask=codes < 0), pa.array(predictions[own_codes])
        )
        for column, values in numbers.items():
            of_cell = np.full(len(first), np.nan)
            of_cell[position[rows]] = values[rows]
            columns[column + label] = pa.array(of_cell, mask=np.isnan(of_cell))
    return pa.table(columns, metadata=table.schema.metadata)


def _rows_of_cells(samples: pd.DataFrame) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """Yield ``<arm>/<seed>`` and the rows of each cell, in their order of appearance."""
    arm, arms = pd.factorize(samples["arm"])
    seed, seeds = pd.factorize(samples["seed"])
    cell, cells = pd.factorize(arm.astype(np.int64) * max(1, len(seeds)) + seed)
    order = np.argsort(cell, kind="stable")
    ends = np.cumsum(np.bincount(cell, minlength=len(cells)))
    for number, rows in zip(cells, np.split(order, ends[:-1]), strict=True) if len(cells) else ():
        yield f"{arms[int(number) // len(seeds)]}/{seeds[int(number) % len(seeds)]}", rows


def _groups(samples: pd.DataFrame, names: Sequence[str]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the number of the group of each row, by the sorted values of ``names``, and the first row of each."""
    key = np.zeros(len(samples), dtype=np.int64)
    for name in names:
        codes, texts = sorted_codes(samples[name])
        key = key * max(1, len(texts)) + codes
    position, groups = pd.factorize(key, sort=True)
    first = np.zeros(len(groups), dtype=np.intp)
    first[position[::-1]] = np.arange(len(samples))[::-1]
    return position, first


def unpivot_samples(table: pa.Table, measures: Sequence[str] = ()) -> pd.DataFrame:
    """Return the long table of a table by `pivot_samples`: cells in column order, samples in row order.

    Texts are sorted categories; truths and predictions have the same ones.
    """
    shared_names = [
        name for name in table.column_names if not name.startswith((_PREDICTION, _SCORE, _MEASURE))
    ]
    shared: pd.DataFrame = table.select(shared_names).to_pandas()
    cells = cells_of(table)
    if not cells:
        numbers = dict.fromkeys(("score", *measures), 0.0)
        return shared.assign(arm="", seed=0, prediction="", **numbers).iloc[:0]
    truth, answers, texts = _answers(table, cells)
    rows = [np.flatnonzero(codes >= 0) for codes in answers]
    every = np.concatenate(rows)
    columns: dict[str, Any] = {
        str(name): sorted_categorical(truth[every], texts) if name == "truth" else _repeated(column, every)
        for name, column in shared.items()
    }
    arms, seeds = zip(*(cell.rpartition("/")[::2] for cell in cells), strict=True)
    arm, labels = pd.factorize(pd.Series(arms, dtype="str"))
    sizes = [len(own) for own in rows]
    columns["arm"] = sorted_categorical(np.repeat(arm, sizes), labels)
    columns["seed"] = np.repeat(np.array(seeds, dtype=np.int64), sizes)
    prediction = np.concatenate([codes[own] for codes, own in zip(answers, rows, strict=True)])
    columns["prediction"] = sorted_categorical(prediction, texts)
    scores = [
        table.column(_SCORE + cell).to_numpy()[own]
        if table.schema.get_field_index(_SCORE + cell) >= 0
        else (codes[own] == truth[own]).astype(np.float64)
        for cell, codes, own in zip(cells, answers, rows, strict=True)
    ]
    columns["score"] = np.concatenate(scores)
    for name in measures:
        numbers_of = [table.column(f"{_MEASURE}{name}/{cell}").to_numpy() for cell in cells]
        columns[name] = np.concatenate([values[own] for values, own in zip(numbers_of, rows, strict=True)])
    return pd.DataFrame(columns)


def _answers(
    table: pa.Table, cells: Sequence[str]
) -> tuple[npt.NDArray[np.int32], list[npt.NDArray[np.int32]], pd.Index]:
    """Return the codes of the truths and of each cell's predictions, -1 for none, and the texts of all codes."""
    chunks: list[pa.Array] = []
    for name in ("truth", *(_PREDICTION + cell for cell in cells)):
        column = table.column(name).combine_chunks()
        own = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        chunks.append(_as_dictionary(own[0] if len(own) == 1 else pa.concat_arrays(own)))
    unified = pa.chunked_array(chunks).unify_dictionaries()
    codes = [
        chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        for chunk in unified.chunks
    ]
    return codes[0], codes[1:], pd.Index(unified.chunk(0).dictionary.to_pandas(), dtype="str")


def _as_dictionary(column: pa.Array) -> pa.DictionaryArray:
    """Return texts as codes of a dictionary without a missing one."""
    wanted = pa.dictionary(pa.int32(), pa.large_string())
    if pa.types.is_dictionary(column.type) and not column.dictionary.null_count:
        return column.cast(wanted)
    return column.cast(pa.large_string()).dictionary_encode().cast(wanted)


def _repeated(column: pd.Series, rows: npt.NDArray[np.intp]) -> pd.Categorical[Any]:
    """Return the texts of a column at ``rows`` as categories."""
    codes, texts = pd.factorize(column)
    return sorted_categorical(codes[rows], pd.Index(texts))


def cells_of(table: pa.Table) -> list[str]:
    """Return the cells of a published table, as ``<arm>/<seed>``."""
    return [name.removeprefix(_PREDICTION) for name in table.column_names if name.startswith(_PREDICTION)]


def number_columns(table: pa.Table, cell: str, measures: Sequence[str]) -> list[str]:
    """Return the columns of a published table that hold the numbers of a cell."""
    score = [_SCORE + cell] if table.schema.get_field_index(_SCORE + cell) >= 0 else []
    return [*score, *(f"{_MEASURE}{name}/{cell}" for name in measures)]
