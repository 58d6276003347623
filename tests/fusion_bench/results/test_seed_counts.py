"""A study whose reference has more seeds than its arms: who trains them, and what the report compares."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from drawn_cells import LOOKS_STUDY, DrawnCells, looks_study, seeds_by_arm
from fusion_bench.api.run import RunRequest
from fusion_bench.api.work import work_on
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.comparing.against import plan_against
from fusion_bench.reporting.published.publish import save
from fusion_bench.reporting.published.published_cells import save_cells
from fusion_bench.reporting.report.sentences import verdict_sentences
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.collect import collect
from fusion_bench.results.looks import LookTaker, study_cells
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.training.paths import RunPaths

COUNTS = {"product": 5, "poor": 3, "equal": 3, "alike": 3, "prior": 3}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    text = LOOKS_STUDY.replace("seeds: {min: 3, max: 8, stop: decided}", "seeds: {arms: 3, reference: 5}")
    text = text.replace("arms:\n", """arms:\n  alike: {module: "toys:Product", gain: 0.8}\n""")
    text += "reference: product\n"
    return read_study(looks_study(tmp_path_factory.mktemp("study"), text))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, study: Study) -> RunPaths:
    """The runs folder of the finished study."""
    paths = RunPaths(tmp_path_factory.mktemp("runs"), {}, {})
    executor = DrawnCells(WorkerSettings(paths, 1, threads=1))
    StudyRun(study, paths, lambda: executor, SilentObserver(), RunOptions(), LookTaker(study, paths)).run()
    assert len(executor.ran) == sum(COUNTS.values())
    return paths


def test_only_the_reference_has_the_further_seeds(study: Study, paths: RunPaths) -> None:
    cells = [item.cell for item in study_cells(study, study.arms, paths).statuses]
    seeds = seeds_by_arm([(cell.arm, cell.seed) for cell in cells])
    assert seeds == {arm: [*range(count)] for arm, count in COUNTS.items()}
    assert {item.state for item in study_cells(study, study.arms, paths).statuses} == {"done"}


def test_every_seed_of_the_reference_is_in_its_comparisons(
    study: Study, paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion_bench.results.collect.measure_for_report", lambda *_: {})
    results = collect(study, paths)
    row = build_tables(results).comparisons.query("arm == 'equal'")
    assert row[["seeds", "reference_seeds"]].to_numpy().tolist() == [[3, 5]]
    scores = (
        results.samples.query("split == 'test'")
        .groupby(["arm", "seed"])["score"]
        .mean()
        .groupby("arm")
        .mean()
    )
    assert row["estimate"].item() == pytest.approx(scores["equal"] - scores["product"])


def test_the_report_names_both_numbers(
    study: Study, paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion_bench.results.collect.measure_for_report", lambda *_: {})
    results = collect(study, paths)
    assert (
        "Seeds 0, 1, 2, for the reference product 0, 1, 2, 3, 4: within a seed"
        in dict(results.setup)["Pairing"]
    )
    text = "\n".join(verdict_sentences(results, build_tables(results)))
    assert "3 seeds against 5" in text


def test_a_pilot_asks_for_the_same_cells(study: Study, paths: RunPaths) -> None:
    counts = work_on(RunRequest(study.path, runs=paths.runs, workers=1), None, Console(quiet=True))
    assert counts.done == sum(COUNTS.values()) and counts.complete


def test_a_report_has_the_arms_of_a_study_that_asks_for_the_same_seeds(
    study: Study, paths: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion_bench.results.collect.measure_for_report", lambda *_: {})
    results = collect(study, paths)
    save(results, tmp_path / "report")
    save_cells(results, paths.runs, tmp_path / "report")
    text = study.path.read_text().replace("name: staged", "name: new")
    text = text.replace("arms:\n", """arms:\n  newer: {module: "toys:Product", gain: 0.9}\n""")
    more = read_study(looks_study(tmp_path, text))
    plan = plan_against(more, paths, tmp_path / "report", before_training=True)
    assert set(plan.taken) == set(COUNTS) and plan.reference == "product"
    assert plan.study.seed_counts == {"newer": 3}
