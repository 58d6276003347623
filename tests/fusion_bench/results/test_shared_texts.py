"""Texts that tables share: joined tables hold the texts of plain ones, each stored once."""

from __future__ import annotations

import pandas as pd
from pandas.testing import assert_frame_equal

from fusion_bench.results.shared_texts import SharedTexts, as_texts, joined, sorted_codes


def tables() -> list[pd.DataFrame]:
    first = pd.DataFrame(
        {
            "sample": ["x", "y", None],
            "truth": ["a", "b", "a"],
            "prediction": ["a", "c", "a"],
            "score": [1.0, 0, 1],
        }
    )
    second = first.assign(sample=["z", "x", "y"], truth=["d", "b", "a"])
    texts = ["sample", "truth", "prediction"]
    return [table.astype(dict.fromkeys(texts, "str")) for table in (first, second, second.iloc[:0])]


def test_joined_tables_hold_the_texts_of_plain_ones() -> None:
    shared = SharedTexts()
    together = joined([shared.of(table) for table in tables()])
    assert_frame_equal(as_texts(together), pd.concat(tables(), ignore_index=True))
    assert list(together["sample"].cat.categories) == ["x", "y", "z"]
    assert (together["truth"] == together["prediction"]).tolist() == [True, False, True, False, False, True]


def test_tables_of_several_stores_and_other_columns_stay_texts() -> None:
    apart = [SharedTexts().of(table) for table in tables()]
    assert_frame_equal(as_texts(joined(apart)), pd.concat(tables(), ignore_index=True))
    first, second, _ = tables()
    more = [first, second.assign(kind="k")]
    assert_frame_equal(joined(more), pd.concat(more, ignore_index=True))


def test_codes_are_sorted_by_text_whatever_the_order_of_the_categories() -> None:
    column = pd.Series(["b", "a", "c", "b"], dtype="str")
    for given in (column, column.astype(pd.CategoricalDtype(["c", "unused", "b", "a"]))):
        codes, texts = sorted_codes(given)
        assert codes.tolist() == [1, 0, 2, 1] and list(texts) == ["a", "b", "c"]
    empty, none = sorted_codes(pd.Series([], dtype="str"))
    assert len(empty) == 0 and len(none) == 0
