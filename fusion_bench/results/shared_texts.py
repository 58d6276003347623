"""Texts of many tables, each different one stored once: a thousand cells repeat the names of their samples.

A column of texts becomes a pandas categorical. The categories of a column are those of all tables so far, in order of
appearance, so tables of one `SharedTexts` are joined without looking at a text again. In the joined table they are
sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

_ANSWERS = "answers"
_COMPARED = ("truth", "prediction")
"""The columns that are compared with each other, which categoricals allow between equal categories only."""


class SharedTexts:
    """The different texts of each column of the tables so far."""

    def __init__(self) -> None:
        self._texts: dict[str, pd.Index] = {}

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with its texts as categories."""
        texts = [str(name) for name, kind in table.dtypes.items() if isinstance(kind, pd.StringDtype)]
        return table.assign(**{name: partial(self._column, name=name) for name in texts})

    def _column(self, table: pd.DataFrame, name: str) -> pd.Categorical[Any]:
        codes, texts = pd.factorize(table[name])  # -1 for a missing text
        key = _ANSWERS if name in _COMPARED else name
        known = self._texts.get(key, texts[:0])
        place = known.get_indexer(texts)
        if (place < 0).any():
            new = np.flatnonzero(place < 0)
            place[new] = len(known) + np.arange(len(new))
            known = self._texts[key] = known.append(texts[new])
        return categorical(np.append(place, -1)[codes], known)


def categorical(codes: npt.NDArray[np.integer], texts: pd.Index) -> pd.Categorical[Any]:
    """Return codes, -1 for none, as a categorical; ``texts`` are known to be different ones."""
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(texts), validate=False)


def sorted_categorical(codes: npt.NDArray[np.integer], texts: pd.Index) -> pd.Categorical[Any]:
    """Return codes, -1 for none, as a categorical whose categories are sorted, so that groups come in that order."""
    if texts.is_monotonic_increasing:
        return categorical(codes, texts)
    order = texts.argsort()
    rank = np.empty(len(order) + 1, dtype=np.int32)
    rank[order], rank[-1] = np.arange(len(order)), -1
    return categorical(rank[codes], texts[order])


def sorted_codes(column: pd.Series) -> tuple[npt.NDArray[np.intp], pd.Index]:
    """Return a code for each text and the texts that occur, sorted, whether or not they are categories."""
    codes, texts = pd.factorize(column)
    texts = pd.Index(
        texts.astype(texts.categories.dtype) if isinstance(texts, pd.CategoricalIndex) else texts
    )
    order = texts.argsort()
    rank = np.empty(len(order) + 1, dtype=np.intp)
    rank[order], rank[-1] = np.arange(len(order)), -1
    return rank[codes], texts[order]


def as_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with texts in place of categories."""
    kinds = {
        name: column.dtype.categories.dtype
        for name, column in table.items()
        if isinstance(column.dtype, pd.CategoricalDtype)
    }
    return table.astype(kinds)


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return tables of one `SharedTexts` as one table; the texts of other tables stay texts."""
    names = [str(name) for name in tables[0].columns]
    if any([*table.columns] != names for table in tables):
        return pd.concat(tables, ignore_index=True)
    columns = {name: _joined_column([table[name] for table in tables]) for name in names}
    shared = {name: column for name, column in columns.items() if column is not None}
    texts = {name: column.categories for name, column in shared.items()}
    if {*_COMPARED} <= shared.keys():
        texts |= dict.fromkeys(_COMPARED, max((texts[name] for name in _COMPARED), key=len))
    shared = {name: sorted_categorical(column.codes, texts[name]) for name, column in shared.items()}
    rest = pd.concat([table.drop(columns=[*shared]) for table in tables], ignore_index=True)
    return rest.assign(**shared)[names]


def _joined_column(parts: Sequence[pd.Series]) -> pd.Categorical[Any] | None:
    """Return columns as one; None unless all are categories and those of each are the first ones of the longest."""
    if not all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
        return None
    longest = max((part.cat.categories for part in parts), key=len)
    for texts in {id(part.cat.categories): part.cat.categories for part in parts}.values():
        if texts is not longest and not longest[: len(texts)].equals(texts):
            return None
    return categorical(np.concatenate([part.cat.codes.to_numpy() for part in parts]), longest)
