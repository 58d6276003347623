"""A published folder contains everything in few bytes; tables that cannot be of one study are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from fusion_bench.errors import DataError, FusionBenchError
from fusion_bench.reporting.published.publish import load, save
from fusion_bench.reporting.tables.samples_table import pivot_samples, unpivot_samples
from fusion_bench.results.results import StudyResults
from fusion_bench.results.shared_texts import as_texts

Make = Callable[..., StudyResults]
KEY = ["arm", "seed", "split", "sample"]


def same(left: pd.DataFrame, right: pd.DataFrame, key: list[str]) -> None:
    ordered = [
        as_texts(table).sort_values(key).reset_index(drop=True)[sorted(table.columns)]
        for table in (left, right)
    ]
    assert_frame_equal(*ordered, check_dtype=False)


def test_what_is_saved_is_loaded(make_results: Make, tmp_path: Path) -> None:
    results = make_results()
    save(results, tmp_path / "out")
    again = load(tmp_path / "out")
    for table, key in (("samples", KEY), ("curves", ["arm", "seed", "epoch", "quantity"])):
        columns = list(getattr(again, table).columns)
        same(getattr(again, table), getattr(results, table)[columns], key)
    same(again.cells, results.cells, ["arm", "seed"])
    same(again.values, results.values, ["arm", "seed", "split", "metric"])
    assert_frame_equal(again.floors, results.floors, check_dtype=False)
    plain = [
        item.name
        for item in dataclasses.fields(results)
        if not isinstance(getattr(results, item.name), pd.DataFrame)
    ]
    assert {name: getattr(again, name) for name in plain} == {name: getattr(results, name) for name in plain}


def test_scores_of_floors_are_published_and_may_be_absent(make_results: Make, tmp_path: Path) -> None:
    results = make_results()
    scores = pd.DataFrame(
        {"name": "wording", "split": "val", "sample": ["val-1", "val-2", "val-3"], "score": [0.0, 1.0, 0.3]}
    )
    save(dataclasses.replace(results, floor_scores=scores), tmp_path / "out")
    assert_frame_equal(load(tmp_path / "out").floor_scores, scores, check_dtype=False)
    save(results, tmp_path / "out")
    assert load(tmp_path / "out").floor_scores.empty
    (tmp_path / "out" / "floors.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(FusionBenchError, match="damaged"):
        load(tmp_path / "out")


def test_an_answer_costs_less_than_four_bytes_on_disk(make_results: Make, tmp_path: Path) -> None:
    """280,000 answers must stay well below 2 MB."""
    results = make_results(clusters=150)
    save(results, tmp_path / "out")
    assert (tmp_path / "out" / "samples.parquet").stat().st_size < 4 * len(results.samples)


def test_partial_scores_are_kept_when_they_do_not_follow_from_the_answer(make_results: Make) -> None:
    samples = make_results().samples
    assert not any(name.startswith("score/") for name in pivot_samples(samples, ["kind"]).column_names)
    samples["score"] = samples["score"] * 0.3
    same(unpivot_samples(pivot_samples(samples, ["kind", "length"])), samples, KEY)


def test_a_cell_is_written_with_its_own_answers_alone(make_results: Make) -> None:
    """Boxes nearly all differ: with the answers of all cells beside each, a report would be megabytes."""
    samples = make_results().samples
    every = samples.assign(prediction=[f"box {row}" for row in range(len(samples))])
    table = pivot_samples(every, ())
    columns = [name for name in table.column_names if name.startswith("prediction/")]
    held = sum(len(table.column(name).combine_chunks().dictionary) for name in columns)
    assert len(columns) > 2
    assert held == len(every)


def test_measures_of_the_task_are_kept_for_each_cell(make_results: Make, tmp_path: Path) -> None:
    results = make_results()
    measured = results.samples.assign(iou=np.random.default_rng(0).random(len(results.samples)))
    save(dataclasses.replace(results, samples=measured, measures=("iou",)), tmp_path / "out")
    same(load(tmp_path / "out").samples, measured, KEY)


def test_a_cell_that_lacks_a_split_stays_without_it(make_results: Make) -> None:
    samples = make_results().samples
    samples = samples[(samples["arm"] != "film") | (samples["split"] == "test")]
    same(unpivot_samples(pivot_samples(samples, ["kind", "length"])), samples, KEY)


@pytest.mark.parametrize("column", ["truth", "cluster", "kind"])
def test_cells_that_saw_different_data_are_refused(make_results: Make, column: str) -> None:
    samples = make_results().samples
    samples.loc[samples.index[-1], column] = "other"
    with pytest.raises(FusionBenchError, match=f"disagree on the {column}"):
        pivot_samples(samples, ["kind", "length"])


def test_an_absent_answer_is_refused(make_results: Make) -> None:
    samples = make_results().samples
    samples.loc[samples.index[0], "prediction"] = None
    with pytest.raises(FusionBenchError, match="has no prediction"):
        pivot_samples(samples, [])


def test_a_damaged_folder_says_which_file(make_results: Make, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    save(make_results(), folder)
    (folder / "curves.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(FusionBenchError, match=r"curves\.parquet is damaged"):
        load(folder)
    (folder / "curves.parquet").unlink()
    with pytest.raises(FusionBenchError, match=r"curves\.parquet does not exist"):
        load(folder)


def test_pictures_are_copied_small_and_a_vanished_one_is_left_out(make_results: Make, tmp_path: Path) -> None:
    results = make_results()
    save(results, tmp_path / "all")
    shown = load(tmp_path / "all").pictures
    assert len(shown) >= 1
    assert all(Path(image).stat().st_size < 20_000 for image in shown["image"])
    results.pictures["image"] += ".gone"
    save(results, tmp_path / "none")
    assert load(tmp_path / "none").pictures.empty


def test_a_truncated_picture_is_named_and_no_file_of_the_report_is_left_half_done(
    make_results: Make, tmp_path: Path
) -> None:
    results = make_results()
    cut = tmp_path / "cut.png"
    cut.write_bytes(Path(results.pictures["image"].iloc[0]).read_bytes()[:-40])
    results.pictures["image"] = str(cut)
    with pytest.raises(DataError, match=r"cut\.png is damaged or not an image"):
        save(results, tmp_path / "out")
    assert not [*(tmp_path / "out").glob("pictures/*")]


def test_saving_a_loaded_report_into_its_own_folder_keeps_its_pictures(
    make_results: Make, tmp_path: Path
) -> None:
    save(make_results(), tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    save(load(tmp_path / "out"), tmp_path / "out")
    assert {path: path.read_bytes() for path in before} == before
