"""Report, journal, MLflow and plan tell the settings with which the cells were trained, not those of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from command_line import CommandLine, paths_of, train
from fusion_bench.cells.folder import cell_folder
from fusion_bench.reporting.mlflow_.content.runs import mlflow_runs
from fusion_bench.reporting.report.report import write_report
from fusion_bench.results.collect import collect
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.arms import settings_of
from fusion_bench.spec.load import read_study
from fusion_bench.study.plan import file_name
from fusion_bench.study.run import study_folder
from fusion_bench.training.config import CellConfig
from toys import STUDY, study_file

SEARCHED = (
    STUDY.partition("arms:")[0]
    + """
arms:
  product: {module: "toys:Product", gain: 4.0, train: {learning_rate: 0.02}}
  wide: {module: "toys:Wider", fusion: {depth: 1}}
  fixed: {module: "toys:Product", gain: 0.25}
seeds: [0, 1]
budget: {match: params, tolerance: 0.5}
search:
  trials: 8
  space:
    gain: [0.001, 0.5]
    train.learning_rate: [0.03]
    fusion.depth: [2]
"""
)
"""Whatever the search chooses is another value than the written one, and another depth is another matched width."""


class SearchedStudy:
    """A study with a search that has run: what its cells, its results and its report say."""

    def __init__(self, folder: Path) -> None:
        self.file, self.runs = study_file(folder, SEARCHED), folder / "runs"
        self.ran = train(self.file, self.runs)
        study = read_study(self.file)
        self.paths = paths_of(study, self.runs)
        self.results: StudyResults = collect(study, self.paths)
        self.folder = study_folder(self.runs, study.name)
        self.report = write_report(self.results, self.folder / "report").read_text()

    def configs(self, arm: str) -> list[CellConfig]:
        """The settings in ``config.json`` of the cells of an arm."""
        cells = [cell for cell in self.ran.cells if cell.arm == arm]
        return [cell_folder(self.runs, cell.id).config() for cell in cells]

    def settings(self, arm: str, *names: str) -> dict[str, Any]:
        """The settings in ``config.json`` of the first cell of an arm."""
        return settings_of(self.configs(arm)[0], names)

    def journal(self, name: str, file: str = "journal.log") -> list[optuna.trial.FrozenTrial]:
        """The trials of an Optuna study."""
        storage = JournalStorage(JournalFileBackend(str(self.folder / file)))
        return optuna.load_study(study_name=name, storage=storage).trials


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SearchedStudy:
    return SearchedStudy(tmp_path_factory.mktemp("searched"))


NAMES = {
    "product": ("gain", "train.learning_rate", "fusion.depth"),
    "wide": ("hidden", "gain", "train.learning_rate", "fusion.depth"),
    "fixed": ("gain", "train.learning_rate", "fusion.depth"),
}


def test_the_cells_train_what_the_search_chose(trained: SearchedStudy) -> None:
    assert trained.settings("product", "gain")["gain"] in {0.001, 0.5}
    assert trained.settings("wide", "train.learning_rate", "fusion.depth") == {
        "train.learning_rate": 0.03,
        "fusion.depth": 2,
    }
    written = next(arm for arm in read_study(trained.file).arms if arm.label == "wide")
    assert trained.settings("wide", "hidden") != written.factors["hidden"], "the width is matched again"


@pytest.mark.parametrize("arm", NAMES)
def test_report_journal_mlflow_and_plan_agree_with_the_cells(
    trained: SearchedStudy, cli: CommandLine, arm: str
) -> None:
    names = [name for name in NAMES[arm] if name != "gain" or arm != "wide"]
    wanted = trained.settings(arm, *names)
    summary = next(item for item in trained.results.arms if item.label == arm)
    assert summary.factors == wanted
    (row,) = (
        line for line in trained.report.splitlines() if line.startswith(f"| `{arm}`") and "toys" in line
    )
    for name, value in wanted.items():
        mark = " (chosen by search)" if name in summary.searched else ""
        assert f"{name} = {value}{mark}".replace("_", r"\_") in row
    trials = [trial for trial in trained.journal("toy") if trial.params["arm"] == arm]
    assert len(trials) == 2
    assert all(trial.params == {"arm": arm, **wanted} for trial in trials)
    runs = [run for run in mlflow_runs(trained.results, None).runs if run.params["arm"] == arm]
    assert len(runs) == 3
    for run in runs:
        assert {name: json.loads(run.params[name]) for name in wanted} == wanted
    planned = json.loads(cli("plan", trained.file, "--json", "--runs", trained.runs).out)
    assert planned["arms"][arm]["settings"] == wanted
    assert planned["arms"][arm]["search_space"] == {}
    ids = {cell["cell"] for cell in planned["cells"] if cell["arm"] == arm}
    assert ids == {config.id for config in trained.configs(arm)}


def test_the_setup_tells_depth_and_learning_rate_of_the_cells(trained: SearchedStudy) -> None:
    setup = dict(trained.results.setup)
    assert "2 copies of the module" in setup["Slot"]
    assert "learning rate 0.03," in setup["Training"]
    assert "1 to 2 trials" in setup["Selection"], "the lists have no more combinations"


def test_the_journal_of_a_search_tells_the_settings_of_each_trial(trained: SearchedStudy) -> None:
    cells = {cell.id: cell for cell in trained.ran.search.search_cells if cell.arm == "wide"}
    trials = trained.journal("toy/wide", f"search/{file_name('wide')}.log")
    assert len(trials) == len(cells) > 0
    for trial in trials:
        config = cells[trial.user_attrs["cell"]].config
        assert trial.params == settings_of(config, trial.params)
        assert "hidden" in trial.params


def test_trials_show_numbers_as_numbers_the_metric_of_each_epoch_and_their_time(
    trained: SearchedStudy,
) -> None:
    searched = trained.journal("toy/product", f"search/{file_name('product')}.log")
    for trial in [*trained.journal("toy"), *searched]:
        kinds = {name: type(item).__name__ for name, item in trial.distributions.items() if name != "arm"}
        whole = {"hidden", "fusion.depth"}
        assert kinds == {name: "IntDistribution" if name in whole else "FloatDistribution" for name in kinds}
        curves = cell_folder(trained.runs, trial.user_attrs["cell"]).outcome().curves
        selected = curves[curves["quantity"].str.startswith("select/accuracy")]
        assert trial.intermediate_values == dict(zip(selected["epoch"], selected["value"], strict=True))
        assert len(trial.intermediate_values) == 2
        timing = cell_folder(trained.runs, trial.user_attrs["cell"]).timing()
        assert trial.duration is not None
        assert trial.duration.total_seconds() == pytest.approx(timing.seconds, abs=1e-3)
    gains = {trial.params["gain"] for trial in searched}
    assert gains == {0.001, 0.5}
    assert searched[0].distributions["gain"] == optuna.distributions.FloatDistribution(0.001, 0.5)


def test_before_its_search_a_plan_shows_no_value_and_no_id(cli: CommandLine, tmp_path: Path) -> None:
    file = study_file(tmp_path, SEARCHED)
    shown = cli("plan", file, "--runs", tmp_path / "runs").out
    (product,) = (line for line in shown.splitlines() if line.strip().startswith("product"))
    assert "gain searched over [0.001, 0.5]" in product
    assert "gain=4.0" not in product
    (wide,) = (line for line in shown.splitlines() if line.strip().startswith("wide"))
    assert "hidden=" in wide and "(matched again after the search)" in wide
    planned = json.loads(cli("plan", file, "--json", "--runs", tmp_path / "runs").out)
    assert planned["arms"]["product"] == {
        "settings": {},
        "chosen_by_search": [],
        "search_space": {"gain": [0.001, 0.5], "train.learning_rate": [0.03], "fusion.depth": [2]},
    }
    assert {cell["cell"] for cell in planned["cells"]} == {None}
    assert {cell["state"] for cell in planned["cells"]} == {"missing"}
    listed = cli("cells", "ls", file, "--runs", tmp_path / "runs").out
    assert "the search has not chosen its settings" in listed


@pytest.fixture
def varied(tmp_path: Path) -> StudyResults:
    """A study whose arms differ in keys of the study, one value per arm."""
    text = STUDY.partition("arms:")[0].partition("controls:")[0] + (
        "controls: false\nseeds: [0]\n"
        'vary: {base: {module: "toys:Product"}, one_at_a_time: {fusion.depth: [2], train.weight_decay: [0.5], '
        "train.batch_size: [8], backbone.frozen: [false], head.hidden: [4]}}\n"
    )
    file = study_file(tmp_path, text)
    train(file, tmp_path / "runs")
    study = read_study(file)
    return collect(study, paths_of(study, tmp_path / "runs"))


def test_the_setup_names_the_arms_of_each_value_where_arms_differ(varied: StudyResults) -> None:
    setup = dict(varied.setup)
    assert " or 2 copies (fusion.depth=2) of the module" in setup["Slot"]
    assert " or 0.5 (train.weight_decay=0.5), warm-up" in setup["Training"]
    assert " or 8 (train.batch_size=8), AdamW" in setup["Training"]
    assert "backbone.frozen=false: test_vit (timm)" in setup["Backbone"]
    assert "head.hidden=4: 1x1 convolution" in setup["Head"]
    assert "the same samples in the same order" in setup["Pairing"]
    (caution,) = (caution for caution in varied.cautions if "conditional" in caution)
    assert caution.startswith("The results of base, ") and "backbone.frozen" not in caution


def test_report_tells_the_time_of_the_search_beside_that_of_its_cells(trained: SearchedStudy) -> None:
    searched = {cell.name for cell in (trained.runs / "cells").iterdir()} - {
        cell.id for cell in trained.ran.cells if cell.purpose == "confirm"
    }
    seconds = sum(cell_folder(trained.runs, cell).timing().seconds for cell in searched)
    stated = trained.results.environment["training time of the search"]
    assert stated == f"{seconds / 60:.1f} minutes of one worker, {len(searched)} cells"
    assert "training time of the search" in trained.report
