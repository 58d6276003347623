"""A study with a pruned search: equal steps for every arm, and the same end after an interruption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
import pytest

from command_line import command_line, paths_of
from fusion_bench.cells.events import CellFailed, CellFinished, WorkerEvent
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.reporting.report.setup_tables import searched_note, searched_table
from fusion_bench.results.collect import collect
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, RunResult, StudyRun, study_folder
from fusion_bench.study.searching.search_journal import search_journal_file
from fusion_bench.study.searching.search_results import search_result
from fusion_bench.study.trials.journal_file import journal_storage
from toys import STUDY, study_file

PRUNED = (
    STUDY.partition("arms:")[0].replace("epochs: 2", "epochs: 3")
    + """
arms:
  product: {module: "toys:Product"}
  fussy: {module: fussy.py}
seeds: [0]
search:
  trials: 6
  batch: 6
  sampler: random
  pruner: successive_halving
  space:
    train.learning_rate: {low: 1e-3, high: 0.1, log: true}
"""
)
FUSSY = """
from fusion_bench.contract import Choice
from toys import Product

class Fussy(Product):
    @classmethod
    def search_space(cls, visual_dim, language_dim):
        return {"limit": Choice((1, 2, 3))}

    def __init__(self, visual_dim, language_dim, *, limit: int = 1):
        super().__init__(visual_dim, language_dim)
        self.limit = limit

    def forward(self, visual, language):
        if self.limit == 2:
            raise ValueError("not with 2")
        return super().forward(visual, language)
"""


def written(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fussy.py").write_text(FUSSY)
    return study_file(folder, PRUNED)


class Interrupted(InlineExecutor):
    """Ctrl-C comes after so many cells."""

    left = -1

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        for event in super().run(cells):
            yield event
            self.left -= isinstance(event, CellFinished | CellFailed)
            if self.left == 0:
                raise KeyboardInterrupt


def run(study: Study, runs: Path, after: int = -1) -> RunResult:
    paths = paths_of(study, runs)
    executor = Interrupted(WorkerSettings(paths, workers=1, threads=1))
    executor.left = after
    return StudyRun(study, paths, lambda: executor, SilentObserver(), RunOptions()).run()


class PrunedStudy:
    """A study with a pruned search that was interrupted twice and then ran to its end."""

    def __init__(self, folder: Path) -> None:
        self.file, self.runs = written(folder), folder / "runs"
        self.study = read_study(self.file)
        for after in (4, 9):  # on the first rung, and on the second
            with pytest.raises(KeyboardInterrupt):
                run(self.study, self.runs, after)
        self.ran = run(self.study, self.runs)
        self.folder = study_folder(self.runs, "toy")

    def trials(self, arm: str) -> list[optuna.trial.FrozenTrial]:
        storage = journal_storage(search_journal_file(self.folder, arm))
        return optuna.load_study(study_name=f"toy/{arm}", storage=storage).trials


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> PrunedStudy:
    return PrunedStudy(tmp_path_factory.mktemp("pruned"))


def test_an_interrupted_search_prunes_as_an_undisturbed_one(pruned: PrunedStudy, tmp_path: Path) -> None:
    study = read_study(written(tmp_path))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "cache").symlink_to(pruned.runs / "cache")
    whole = run(study, tmp_path / "runs")
    asked = [(cell.arm, cell.id) for cell in whole.search.search_cells]
    assert [(cell.arm, cell.id) for cell in pruned.ran.search.search_cells] == asked
    assert pruned.ran.search.chosen == whole.search.chosen


def test_each_arm_has_the_same_trials_and_the_cells_of_pruned_ones_are_done(pruned: PrunedStudy) -> None:
    states = {arm: [trial.state.name for trial in pruned.trials(arm)] for arm in ("product", "fussy")}
    assert {arm: len(found) for arm, found in states.items()} == {"product": 6, "fussy": 6}
    assert states["product"].count("COMPLETE") == 2
    assert states["product"].count("PRUNED") == 4
    assert "FAIL" in states["fussy"]
    for arm, found in states.items():
        for trial, state in zip(pruned.trials(arm), found, strict=True):
            cells = trial.user_attrs.get("cells", [trial.user_attrs.get("cell")])
            assert len(cells) == max(1, len(trial.intermediate_values))
            done = [cell_folder(pruned.runs, cell).done for cell in cells]
            assert all(done) == (state != "FAIL")
            assert trial.duration is not None
            assert (trial.duration.total_seconds() > 0) == (state != "FAIL")


def test_trials_show_the_range_the_values_of_the_rungs_and_the_failure(pruned: PrunedStudy) -> None:
    trial = next(trial for trial in pruned.trials("product") if trial.state.name == "COMPLETE")
    assert trial.distributions["train.learning_rate"] == optuna.distributions.FloatDistribution(
        1e-3, 0.1, log=True
    )
    assert list(trial.intermediate_values) == [1, 3]
    assert trial.value == trial.intermediate_values[3]
    fussy = pruned.trials("fussy")
    assert fussy[0].distributions["limit"] == optuna.distributions.IntDistribution(1, 3)
    failed = [found.user_attrs["failure"] for found in fussy if found.state.name == "FAIL"]
    assert failed
    assert all("not with 2" in reason for reason in failed)


def test_the_report_counts_the_budget_in_training_steps(pruned: PrunedStudy) -> None:
    results = collect(pruned.study, paths_of(pruned.study, pruned.runs))
    # 6 trials of one epoch and 2 of three, and of each epoch as many steps as batches.
    curves = cell_folder(pruned.runs, pruned.ran.search.search_cells[0].id).outcome().curves
    steps = (6 + 2 * 3) * int(curves["samples_seen"].max()) // 16
    assert [arm.search_steps for arm in results.arms] == [steps, steps]
    assert "the budget of the search is counted in training steps" in dict(results.setup)["Selection"]
    assert f"| 6 | {steps} |" in " ".join(searched_table(results.arms).split())
    assert searched_note(results.arms).startswith("Training steps are those planned")
    chosen = search_result(pruned.study, paths_of(pruned.study, pruned.runs))
    assert {arm.config.train.epochs for arm in chosen.arms} == {3}


def test_plan_counts_the_epochs_of_a_pruned_search(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown = command_line(capsys)("plan", written(tmp_path), "--runs", tmp_path / "runs").out
    assert (
        "before these, 16 search cells (6 trials per arm); they are pruned, so the budget is one of training steps: "
        "12 epochs instead of 18 in each arm, for each search seed"
    ) in shown
    assert "18 cells to train" in shown
