"""A published folder gives its finished cells back: another machine trains only what is missing."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from fusion_bench.api.run import report_on
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.publish import load, save
from fusion_bench.reporting.published.published_cells import import_published, save_cells, save_search_cells
from fusion_bench.results.collect import collect
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, RunResult, StudyRun
from fusion_bench.study.searching.search_results import ended_trials
from fusion_bench.training.paths import RunPaths
from toys import STUDY, study_file

SEARCHED = STUDY + "search: {trials: 2, declared: false, space: {train.learning_rate: [0.01, 0.02]}}\n"


def paths(runs: Path) -> RunPaths:
    return RunPaths(runs, {}, {})


def run(study: Study, runs: Path) -> RunResult:
    def executor() -> InlineExecutor:
        return InlineExecutor(WorkerSettings(paths(runs), workers=1, threads=1))

    return StudyRun(study, paths(runs), executor, SilentObserver(), RunOptions()).run()


def publish(study: Study, runs: Path, folder: Path) -> Path:
    save_search_cells(study, paths(runs), folder / study.name)
    results = collect(study, paths(runs))
    save(results, folder / study.name)
    save_cells(results, runs, folder / study.name)
    return folder / study.name


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return read_study(study_file(tmp_path_factory.mktemp("study"), SEARCHED))


@pytest.fixture(scope="module")
def runs(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of the finished study, not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    run(study, folder)
    return folder


@pytest.fixture(scope="module")
def published(study: Study, runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published folder of the finished study, not to be changed."""
    return publish(study, runs, tmp_path_factory.mktemp("reports"))


def outcome(folder: CellFolder) -> tuple[object, ...]:
    found = folder.outcome()
    ordered = found.samples.sort_values(["split", "sample"], ignore_index=True)
    return (found.result, found.timing, found.provenance, ordered, found.curves)


def assert_equal_cells(one: Path, other: Path) -> None:
    names = sorted(path.name for path in (one / "cells").iterdir())
    assert names == sorted(path.name for path in (other / "cells").iterdir())
    for name in names:
        for left, right in zip(
            outcome(cell_folder(one, name)), outcome(cell_folder(other, name)), strict=True
        ):
            if isinstance(left, pd.DataFrame) and isinstance(right, pd.DataFrame):
                pd.testing.assert_frame_equal(left, right)
            else:
                assert left == right


def test_every_cell_comes_back_with_its_whole_outcome(runs: Path, published: Path, tmp_path: Path) -> None:
    found = import_published(published, tmp_path / "runs")
    assert len(found.taken) == len(list((runs / "cells").iterdir())) == 8  # 4 trials and 4 cells
    assert_equal_cells(runs, tmp_path / "runs")
    assert len(import_published(published, tmp_path / "runs").already_here) == 8


def test_a_run_after_the_import_trains_nothing_and_reports_the_same(
    study: Study, published: Path, tmp_path: Path
) -> None:
    import_published(published, tmp_path / "runs")
    assert sum(ended_trials(study, paths(tmp_path / "runs")).values()) == 4
    assert run(study, tmp_path / "runs").trained == 0
    again = publish(study, tmp_path / "runs", tmp_path / "reports")
    for name in (
        "results.csv",
        "samples.parquet",
        "curves.parquet",
        "cells.parquet",
        "search_samples.parquet",
    ):
        assert (again / name).read_bytes() == (published / name).read_bytes()


def test_an_unfinished_study_goes_on_where_it_stood(study: Study, runs: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(runs, half)
    lost = [cell for cell in (half / "cells").iterdir() if CellFolder(cell).config().seed == 1]
    for cell in lost:
        shutil.rmtree(cell)
    found = import_published(publish(study, half, tmp_path / "reports"), tmp_path / "elsewhere")
    assert len(found.taken) == 8 - len(lost) == 6
    assert run(study, tmp_path / "elsewhere").trained == len(lost)


def test_the_trials_of_a_search_that_is_not_over_are_kept(study: Study, runs: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(runs, half)
    trials = [cell for cell in (half / "cells").iterdir() if not CellFolder(cell).config().evaluate]
    shutil.rmtree(trials[0])
    with pytest.raises(FusionBenchError, match=r"not finished.*3 finished trials are kept in"):
        report_on(study, paths(half), tmp_path / "reports", Console(file=io.StringIO()))
    found = import_published(tmp_path / "reports" / study.name, tmp_path / "elsewhere")
    assert len(found.taken) == 3
    # What a plan says is still to be trained, where the study has not run.
    ended = ended_trials(study, paths(tmp_path / "elsewhere"))
    assert {*ended} == {arm.label for arm in study.arms} and sum(ended.values()) == 3


def test_rebuilding_keeps_the_cells(published: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(published, tmp_path / "copy")
    save(load(copy), copy)
    assert len(import_published(copy, tmp_path / "runs").taken) == 8


def changed(folder: Path, **columns: object) -> None:
    """Replace values of the first row of ``cells.parquet``."""
    table = pq.read_table(folder / "cells.parquet").to_pylist()
    table[0] |= {name.replace("_json", ".json"): value for name, value in columns.items()}
    pq.write_table(pa.Table.from_pylist(table), folder / "cells.parquet")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"cell": "../../outside"}, "is no id"),
        ({"cell": "0" * 16}, "config"),
        ({"arm": "another"}, "no samples of the cell"),
        ({"result_json": "{}"}, "damaged"),
        ({"config_json": "[]"}, "damaged"),
    ],
)
def test_a_changed_folder_is_refused(
    published: Path, tmp_path: Path, columns: dict[str, object], said: str
) -> None:
    copy = shutil.copytree(published, tmp_path / "copy")
    changed(copy, **columns)
    with pytest.raises(FusionBenchError, match=said) as refused:
        import_published(copy, tmp_path / "runs")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "outside").exists()


def test_a_result_that_contradicts_the_samples_is_refused(published: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(published, tmp_path / "copy")
    result = pq.read_table(copy / "cells.parquet").to_pylist()[0]["result.json"]
    name = '"test/accuracy": '
    start = result.index(name) + len(name)
    changed(copy, result_json=f"{result[:start]}0.123456,{result[result.index(',', start) + 1 :]}")
    with pytest.raises(FusionBenchError, match="contradicts"):
        import_published(copy, tmp_path / "runs")


def test_a_folder_without_cells_says_what_writes_them(published: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(published, tmp_path / "copy")
    for name in ("cells.parquet", "search_cells.parquet"):
        (copy / name).unlink()
    with pytest.raises(FusionBenchError, match=r"and no cells.parquet, as `fusion-bench report"):
        import_published(copy, tmp_path / "runs")
