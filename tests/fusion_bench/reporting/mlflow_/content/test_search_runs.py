"""The trials of a search in MLflow, from Optuna's journals."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from fusion_bench.contract import Float
from fusion_bench.reporting.mlflow_.content.search_runs import SELECTION, search_journals, shown_search
from fusion_bench.study.journal import Journal
from fusion_bench.study.trials.journal_file import dashboard_command
from fusion_bench.study.trials.record import Record, TrialDetails

ENDED = datetime(2026, 1, 2, 3, 4, 5)


def searched(folder: Path) -> Path:
    """The folder of a study whose search drew a trial that ended well, one that was pruned and one that failed."""
    journal = Journal(
        folder / "search" / "film.log",
        "study/film",
        maximise=True,
        spaces={"train.learning_rate": Float(1e-4, 1e-1, log=True)},
        details=lambda record: TrialDetails({1: 0.25, 2: 0.5}, ENDED - timedelta(seconds=9), ENDED),
    )
    factors = {"train.learning_rate": 0.01, "kernel_size": 3}
    journal.update(
        [
            Record(("a", "b"), (7, 8), factors, 0.5123456, None, number=0),
            Record(("c",), (7,), {**factors, "train.learning_rate": 0.1}, 0.25, None, pruned=True, number=1),
            Record(("d",), (7,), factors, None, "the loss was not finite", number=2),
        ],
        plan=["x"],
    )
    return folder


def test_every_trial_is_a_child_with_its_parameters_and_its_end(tmp_path: Path) -> None:
    found = shown_search("study", search_journals(searched(tmp_path)), {"film": {"train.learning_rate": 0.9}})
    assert found is not None
    assert (found.study.name, found.rises) == ("study/search", True)
    parent, *trials = found.study.runs
    assert parent.name == "film · search" and parent.latest["trials"] == 3
    assert parent.latest["importance/train.learning_rate"] == 0.9
    assert parent.latest[f"best_{SELECTION}"] == 0.51235
    assert [run.status for run in trials] == ["FINISHED", "KILLED", "FAILED"]
    assert {run.parent for run in trials} == {parent.key}
    good, pruned, failed = trials
    assert good.params["train.learning_rate"] == "0.01" and good.params["arm"] == "film"
    assert (good.points[0].metric, good.points[0].value) == (SELECTION, 0.51235)
    curve = [(point.step, point.value) for point in good.points if point.metric == f"curve/{SELECTION}"]
    assert curve == [(1, 0.25), (2, 0.5)]
    assert (good.seconds, good.ended) == (9.0, int(ENDED.timestamp() * 1000))
    assert pruned.tags["state"] == "pruned" and failed.tags["reason"] == "the loss was not finite"
    assert SELECTION not in {point.metric for point in failed.points}


def test_a_study_without_a_search_has_no_such_experiment(tmp_path: Path) -> None:
    assert shown_search("study", search_journals(tmp_path)) is None


def test_the_command_of_the_dashboard_names_the_journals_that_there_are(tmp_path: Path) -> None:
    assert dashboard_command(tmp_path) is None
    folder = searched(tmp_path / "my runs")
    assert dashboard_command(folder) == (
        f"optuna-dashboard '{folder}/search/film.log'  # searches: '{folder}/search'/*.log"
    )
    (folder / "journal.log").touch()
    assert str(dashboard_command(folder)).startswith(f"optuna-dashboard '{folder}/journal.log'")
