"""A study with looks: seeds are spent on open comparisons, the cells decide, and the report follows the rule."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from rich.console import Console

from command_line import environment
from drawn_cells import LOOKS_STUDY, DrawnCells, looks_study, seeds_by_arm
from fusion_bench.api.run import RunRequest
from fusion_bench.api.work import work_on
from fusion_bench.cells.events import WorkerEvent
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.result import Outcome
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.content.runs import mlflow_runs
from fusion_bench.reporting.published.publish import load, save
from fusion_bench.reporting.report.answer import answer_sentences
from fusion_bench.reporting.report.report import make_report, rebuild
from fusion_bench.reporting.report.sentences import verdict_sentences
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.collect import collect
from fusion_bench.results.looks import LookTaker, study_cells
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.arms import BudgetMatch
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, RunResult, RunStopped, StudyRun
from fusion_bench.training.paths import RunPaths

TEMPLATES: dict[str, Outcome] = {}
"""Outcomes of cells that were trained once for this file."""
WHOLE = {"product": 8, "poor": 3, "equal": 8, "prior": 3}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and cached maps that the runs of this file share."""
    return tmp_path_factory.mktemp("cache")


def fresh(folder: Path, cache: Path) -> RunPaths:
    """A runs folder without cells."""
    folder.mkdir(parents=True)
    (folder / "cache").symlink_to(cache)
    return RunPaths(folder, {}, {})


@pytest.fixture(autouse=True)
def _no_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here reads a latency, which a process of its own would measure."""
    monkeypatch.setattr("fusion_bench.results.collect.measure_for_report", lambda *_: {})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return read_study(looks_study(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path, study: Study) -> RunPaths:
    """The runs folder of a finished study; not to be changed."""
    paths = fresh(tmp_path_factory.mktemp("finished") / "runs", cache)
    run(study, paths)
    return paths


@pytest.fixture
def paths(tmp_path: Path, cache: Path) -> RunPaths:
    return fresh(tmp_path / "runs", cache)


@pytest.fixture
def copied(tmp_path: Path, finished: RunPaths) -> RunPaths:
    """A copy of the finished study, to be changed."""
    shutil.copytree(finished.runs, tmp_path / "copy", symlinks=True)
    return RunPaths(tmp_path / "copy", {}, {})


def run(study: Study, paths: RunPaths, executor: Any = None, **options: bool) -> RunResult:
    made = executor or drawn(paths)
    taker = LookTaker(study, paths)
    return StudyRun(study, paths, lambda: made, SilentObserver(), RunOptions(**options), taker).run()


def drawn(paths: RunPaths, **how: Any) -> DrawnCells:
    return DrawnCells(WorkerSettings(paths, 1, threads=1), templates=TEMPLATES, **how)


def asked(cells: Sequence[Any]) -> dict[str, int]:
    return {arm: len(seeds) for arm, seeds in seeds_by_arm([(c.arm, c.seed) for c in cells]).items()}


def looks_file(study: Study, paths: RunPaths) -> Any:
    return json.loads((paths.runs / "studies" / study.name / "looks.json").read_text())


def results_of(study: Study, paths: RunPaths) -> StudyResults:
    return collect(study, paths)


def said(results: StudyResults) -> str:
    """The sentences of the report, without its figures."""
    tables = build_tables(results)
    return "\n".join([*answer_sentences(results, tables), *verdict_sentences(results, tables)])


def test_seeds_are_spent_on_open_comparisons_only(study: Study, finished: RunPaths) -> None:
    cells = study_cells(study, study.arms, finished)
    assert asked([item.cell for item in cells.statuses]) == WHOLE
    assert {item.state for item in cells.statuses} == {"done"}
    kept = looks_file(study, finished)
    assert [(look["seeds"], look["open"]) for look in kept["taken"]] == [
        (3, ["equal"]),
        (5, ["equal"]),
        (8, ["equal"]),
    ]
    assert sum(look["alpha"] for look in kept["planned"]) == pytest.approx(0.05)
    plan = json.loads((finished.runs / "studies" / study.name / "plan.json").read_text())
    assert len(plan["cells"]) == sum(WHOLE.values())


def test_a_repeated_run_decides_the_same_and_trains_nothing(study: Study, copied: RunPaths) -> None:
    before = looks_file(study, copied)
    executor = drawn(copied)
    assert run(study, copied, executor).trained == 0
    assert executor.ran == [] and looks_file(study, copied) == before


@pytest.mark.parametrize("after", [12, 14])
def test_a_run_that_is_stopped_goes_on_where_it_was(
    after: int, study: Study, paths: RunPaths, finished: RunPaths
) -> None:
    with pytest.raises(RunStopped):
        run(study, paths, drawn(paths, stop_after=after))
    executor = drawn(paths)
    assert asked(run(study, paths, executor).cells) == WHOLE
    assert len(executor.ran) == sum(WHOLE.values()) - after
    assert looks_file(study, paths) == looks_file(study, finished)
    assert contents(paths) == contents(finished)


def contents(paths: RunPaths) -> dict[str, bytes]:
    cells = paths.runs / "cells"
    return {
        str(file.relative_to(cells)): file.read_bytes()
        for name in ("result.json", "samples.parquet")
        for file in cells.glob(f"*/{name}")
    }


class _StoppedAfterALook(InlineExecutor):
    """Trains real cells, and is stopped before the first cell of the second look."""

    looks = 0

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        if self.looks:
            raise KeyboardInterrupt
        self.looks += 1
        yield from super().run(cells)


@pytest.fixture
def small(tmp_path: Path) -> Study:
    """Two arms that train for real, of which a few samples decide nothing."""
    text = LOOKS_STUDY.replace("controls: [prior]", "controls: false").replace("max: 8", "max: 4")
    return read_study(
        looks_study(tmp_path, text.replace("""  equal: {module: "toys:Product", gain: 0.75}\n""", ""))
    )


def test_real_cells_go_on_after_a_stop_between_looks_with_equal_bytes(
    small: Study, tmp_path: Path, cache: Path
) -> None:
    once, stopped = (fresh(tmp_path / name, cache) for name in ("once", "stopped"))
    run(small, once, InlineExecutor(WorkerSettings(once, 1, threads=1)))
    with pytest.raises(RunStopped):
        run(small, stopped, _StoppedAfterALook(WorkerSettings(stopped, 1, threads=1)))
    assert len([*stopped.runs.glob("cells/*/DONE")]) == 6
    assert [look["seeds"] for look in looks_file(small, stopped)["taken"]] == [3]
    run(small, stopped, InlineExecutor(WorkerSettings(stopped, 1, threads=1)))
    assert contents(stopped) == contents(once)
    assert looks_file(small, stopped) == looks_file(small, once)
    assert len([*once.runs.glob("cells/*/DONE")]) == 8


@pytest.mark.slow
def test_a_process_killed_between_looks_leaves_what_the_next_run_needs(
    small: Study, tmp_path: Path, cache: Path
) -> None:
    once, killed = (fresh(tmp_path / name, cache) for name in ("once", "killed"))
    run(small, once, InlineExecutor(WorkerSettings(once, 1, threads=1)))
    program = "import sys; from drawn_cells import train_with_looks; train_with_looks(*sys.argv[1:])"
    command = [sys.executable, "-c", program, str(small.path), str(killed.runs)]
    kept = killed.runs / "studies" / small.name / "looks.json"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(), start_new_session=True)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and not kept.exists():
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert kept.exists(), (tmp_path / "log").read_text()
    run(small, killed, InlineExecutor(WorkerSettings(killed, 1, threads=1)))
    assert contents(killed) == contents(once)
    assert looks_file(small, killed) == looks_file(small, once)


def test_cells_that_no_look_asked_for_have_no_part(study: Study, paths: RunPaths) -> None:
    run(read_study(study.path, ["seeds=8"]), paths)
    executor = drawn(paths)
    assert asked(run(study, paths, executor).cells) == WHOLE
    assert executor.ran == []
    results = results_of(study, paths)
    assert results.cells.groupby("arm").size().to_dict() == WHOLE
    assert len(results.values) == 2 * sum(WHOLE.values())


def test_an_arm_with_a_failed_cell_is_left_out_until_it_is_tried_again(study: Study, paths: RunPaths) -> None:
    executor = drawn(paths, failing=lambda gain, seed: gain == 0.75 and seed == 3)
    assert asked(run(study, paths, executor).cells) == {**WHOLE, "product": 5, "equal": 5}
    kept = looks_file(study, paths)
    assert kept["taken"][1]["left_out"] == ["equal"] and kept["taken"][1]["open"] == []
    text = said(results_of(study, paths))
    assert "**Left out of look 2**: `equal` lacks a seed that the reference has (seed 3 is failed)" in text
    again = run(study, paths, drawn(paths), retry_failed=True)
    assert asked(again.cells) == WHOLE
    assert looks_file(study, paths)["taken"][1]["left_out"] == []


def test_a_look_that_the_reference_cannot_take_spends_nothing(study: Study, paths: RunPaths) -> None:
    executor = drawn(paths, failing=lambda gain, seed: gain == 1.0 and seed == 1)
    assert asked(run(study, paths, executor).cells) == dict.fromkeys(WHOLE, 3)
    results = results_of(study, paths)
    assert results.stages is not None and results.stages.taken == ()
    text = said(results)
    assert "**The next look, at 3 seeds, is not taken**: the reference has 2 finished seeds" in text
    assert "no look is taken yet" in text
    assert set(build_tables(results).comparisons["verdict"]) == {"no verdict", ""}


def test_a_report_between_looks_says_what_is_open(study: Study, paths: RunPaths) -> None:
    with pytest.raises(RunStopped):
        run(study, paths, drawn(paths, stop_after=13))
    results = results_of(study, paths)
    tables = build_tables(results)
    assert list(tables.looks["state"]) == ["taken", "next", "later"]
    columns = ["arm", "verdict", "look", "seeds"]
    verdicts = tables.comparisons[tables.comparisons["role"] == "arm"][columns].to_numpy().tolist()
    assert verdicts == [["equal", "underpowered", 1, 3], ["poor", "worse", 1, 3]]
    text = said(results)
    assert "**The next look, at 5 seeds, is not taken**: it waits for 3 cells. Open: `equal`." in text


def test_every_number_of_a_look_follows_from_the_cells_that_it_compares(
    study: Study, finished: RunPaths
) -> None:
    results = results_of(study, finished)
    tables = build_tables(results)
    assert results.stages is not None
    for number, look in enumerate(results.stages.taken, 1):
        arms, level = {results.reference, *look.arms}, results.stages.planned[number - 1].alpha
        part = build_tables(restricted(results, arms, look.seeds)).comparisons.set_index("arm")
        own = tables.look_comparisons[tables.look_comparisons["look"] == number].set_index("arm")
        for column in ("estimate", "standard_error", "p", "p_holm"):
            assert own[column].to_dict() == pytest.approx(part[column].to_dict())
        assert ((own["high"] - own["low"]) > (part["high"] - part["low"]).reindex(own.index)).all()
        assert (own["verdict"] == "underpowered").to_dict() == {
            arm: bool(p >= level) for arm, p in part["p_holm"].items()
        }
        last = tables.comparisons[tables.comparisons["look"] == number].set_index("arm")
        assert last["p_holm"].to_dict() == own.loc[last.index, "p_holm"].to_dict()
        assert last["level"].tolist() == pytest.approx([1 - level] * len(last))


def restricted(results: StudyResults, arms: set[str], seeds: int) -> StudyResults:
    """The study as if it had planned these arms with so many seeds."""

    def own(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["arm"].isin(arms) & (table["seed"] < seeds)].reset_index(drop=True)

    return replace(
        results,
        stages=None,
        arms=tuple(arm for arm in results.arms if arm.label in arms),
        cells=own(results.cells),
        values=own(results.values),
        samples=own(results.samples),
        curves=own(results.curves),
        pictures=results.pictures.iloc[:0],
    )


def test_controls_have_the_first_seeds_and_arms_are_compared_with_them_on_these(
    study: Study, finished: RunPaths
) -> None:
    results = results_of(study, finished)
    tables = build_tables(results)
    first = build_tables(restricted(results, {arm.label for arm in results.arms}, 3))
    pd.testing.assert_frame_equal(
        tables.controls.sort_values("arm", ignore_index=True),
        first.controls.sort_values("arm", ignore_index=True),
    )
    means = tables.means[tables.means["split"] == results.primary_split].set_index("arm")["seeds"].to_dict()
    assert means == WHOLE


def test_a_published_report_is_made_again_from_its_files(
    study: Study, finished: RunPaths, tmp_path: Path
) -> None:
    results = results_of(study, finished)
    text = make_report(results, tmp_path / "report").path.read_text(encoding="utf-8")
    assert "### Looks" in text and "at look 1 (level 1.88 %), 3 seeds" in text
    assert "**Exaggerated**: `poor` stopped before the last look" in text
    assert load(tmp_path / "report").stages == results.stages
    assert rebuild(tmp_path / "report").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"taken": [{"seeds": 3, "alpha": 0.01875, "arms": ["nobody"], "open": []}]}, "looks at 'nobody'"),
        ({"planned": [{"seeds": 3, "alpha": 0.05}, {"seeds": 8, "alpha": 0.05}]}, "its looks are not"),
        ({"planned": [{"seeds": 2, "alpha": 0.05}], "taken": []}, "its looks are not"),
        ({"planned": "all"}, "stages"),
    ],
)
def test_looks_that_no_study_has_are_refused(
    changed: dict[str, Any], message: str, study: Study, finished: RunPaths, tmp_path: Path
) -> None:
    save(results_of(study, finished), tmp_path / "report")
    file = tmp_path / "report" / "study.json"
    content = json.loads(file.read_text())
    content["stages"] |= changed
    file.write_text(json.dumps(content))
    with pytest.raises(FusionBenchError, match=message):
        load(tmp_path / "report")


def test_pilots_go_from_look_to_look_without_a_coordinator(
    study: Study, paths: RunPaths, finished: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fusion_bench.api.work.LocalExecutor", lambda settings, logs, wanted, over: drawn(settings.paths)
    )
    counts = work_on(RunRequest(study.path, runs=paths.runs, workers=1), None, Console(quiet=True))
    assert counts.done == sum(WHOLE.values()) and counts.complete
    assert contents(paths) == contents(finished)


def test_trials_and_mlflow_runs_are_those_of_the_cells_that_were_asked_for(
    study: Study, finished: RunPaths
) -> None:
    file = finished.runs / "studies" / study.name / "journal.log"
    trials = optuna.load_study(
        study_name=study.name, storage=JournalStorage(JournalFileBackend(str(file)))
    ).get_trials()
    found = seeds_by_arm([(trial.params["arm"], trial.user_attrs["seed"]) for trial in trials])
    assert {arm: len(seeds) for arm, seeds in found.items()} == WHOLE
    runs = mlflow_runs(results_of(study, finished), None).runs
    cells = [item.key.split("/")[1] for item in runs if item.kind == "cell"]
    assert {arm: cells.count(arm) for arm in WHOLE} == WHOLE
    states = {item.name: item.tags["state"] for item in runs if item.kind == "arm"}
    assert states == dict.fromkeys(WHOLE, "done")


def test_no_look_is_taken_while_a_search_has_still_to_choose(study: Study, finished: RunPaths) -> None:
    cells = study_cells(study, study.arms, finished, searched=False)
    assert asked([item.cell for item in cells.statuses]) == dict.fromkeys(WHOLE, 3)
    assert len(cells.possible) == 3 * 8 + 3


def test_arms_outside_the_budget_and_controls_have_the_first_seeds(study: Study, finished: RunPaths) -> None:
    outside = BudgetMatch(0.5, "it has no width to match")
    arms = [replace(arm, budget_match=outside) if arm.label == "equal" else arm for arm in study.arms]
    cells = study_cells(study, arms, finished)
    assert asked([item.cell for item in cells.statuses]) == dict.fromkeys(WHOLE, 3)
    assert cells.question.family == ("poor",) and cells.question.unranked == ("equal",)
