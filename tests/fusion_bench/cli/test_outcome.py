"""What stands in the terminal at the end of a run: the report's numbers, its path, and how to see it in MLflow."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from command_line import CommandLine, train
from fusion_bench.api.report import load_report
from fusion_bench.api.run import run_study
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.links import how_to_see
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.result_table import result_table
from fusion_bench.reporting.tables.formatting import DASH, percent, percent_range, points, points_range
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.study.trials.journal_file import journal_storage
from optuna_trials import shown_trials
from toys import STUDY, study_file

# MLflow calls what SQLAlchemy gives up.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

DONE = ("--workers", 1, "--device", "cpu")


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of the time of a report, and none is looked at here."""
    monkeypatch.setattr("fusion_bench.reporting.report.report.draw_figures", lambda *_: {})


@pytest.fixture(scope="module")
def trained(fresh_runs: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study file and a runs folder in which all cells are done but those of an arm that fails."""
    weaker = '  weaker: {module: "toys:Product", gain: 0.5}\n'
    text = STUDY.replace(weaker, weaker + '  "[bold]broken": {module: "toys:Explodes"}\n')
    file, runs = study_file(tmp_path_factory.mktemp("study"), text), fresh_runs()
    train(file, runs)
    return file, runs


@pytest.fixture
def study(trained: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same, in a folder whose name has a blank and that a test may change."""
    file, runs = trained
    return file, shutil.copytree(runs, tmp_path / "my runs", symlinks=True)


def cells_of(line: str) -> list[str]:
    return re.split(r"  +", line.strip())


def test_a_run_ends_with_the_numbers_of_its_report(cli: CommandLine, study: tuple[Path, Path]) -> None:
    file, runs = study
    result = cli("run", file, "--runs", runs, *DONE)
    report = load_report(runs / "studies" / "toy")
    lines = result.out.splitlines()
    head = next(number for number, line in enumerate(lines) if cells_of(line)[0] == "arm")
    assert cells_of(lines[head]) == [
        "arm",
        "test accuracy, %",
        "95 % interval",
        "difference, points",
        "verdict",
        "ties",
    ]
    rows = {cells_of(line)[0]: cells_of(line)[1:] for line in lines[head + 1 : head + 1 + len(report.arms)]}
    assert rows["[bold]broken"] == [DASH, DASH, DASH, "no result", DASH]
    means = report.means[(report.means["split"] == "test") & (report.means["metric"] == "accuracy")]
    for arm, row in means.set_index("arm").iterrows():
        assert rows[str(arm)][:2] == [percent(row["estimate"]), percent_range(row["low"], row["high"])]
    assert rows["product"][2:] == [DASH, "reference", DASH]
    (compared,) = report.comparisons[report.comparisons["arm"] == "weaker"].to_dict("records")
    assert rows["weaker"][2:] == [
        f"{points(compared['estimate'])} ({points_range(compared['low'], compared['high'])})",
        compared["verdict"],
        DASH,
    ]
    assert (
        lines[-3:]
        == [
            f"Report: {runs / 'studies' / 'toy' / 'report' / 'report.md'}",
            *[line for line in lines if line.startswith("showing")],
            f"MLflow: fusion-bench ui --runs '{runs}'",
            f"Optuna: optuna-dashboard '{runs}/studies/toy/journal.log'",
            "4 of 6 cells done, 2 failed",
        ][-3:]
    )
    assert max(map(len, lines[head:])) < 200
    (few,) = (line for line in lines if "no verdicts" in line)
    assert few.startswith("2 seeds: ") and lines.index(few) < head


def test_the_table_fits_a_narrow_terminal(study: tuple[Path, Path], cli: CommandLine) -> None:
    file, runs = study
    cli("report", file, "--runs", runs)
    results = load(runs / "studies" / "toy" / "report")
    tables = build_tables(results)
    for width in (40, 60, 200):
        console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
        console.print(result_table(results, tables))
        assert isinstance(console.file, io.StringIO)
        shown = console.file.getvalue()
        assert max(map(len, shown.splitlines())) <= width
        assert percent(tables.means["estimate"].iloc[0]) in shown


def refuse(*_: object, **__: object) -> None:
    raise FusionBenchError("the store is full")


def test_the_report_is_named_where_mlflow_fails(
    cli: CommandLine,
    study: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, runs = study
    report = runs / "studies" / "toy" / "report" / "report.md"
    monkeypatch.setattr("fusion_bench.api.run.sync_study", refuse)
    for code, command in ((1, ("run", file, *DONE)), (2, ("report", file, "--mlflow"))):
        report.unlink(missing_ok=True)
        result = cli(*command, "--runs", runs)
        assert result.code == code  # a run is judged by its cells, of which two fail here
        assert f"Report: {report}\n" in result.out
        said = f"the store is full (the cells are kept and the report is written, {report};"
        assert result.err.splitlines()[-1].startswith(said)
        assert report.is_file()
        assert "MLflow:" not in result.out
    capsys.readouterr()
    assert run_study(file, runs=runs, workers=1, device="cpu").name == "toy"
    assert "the report is written" in capsys.readouterr().out


def test_a_server_that_is_down_stops_no_study(
    cli: CommandLine, study: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, runs = study
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    result = cli("run", file, "--runs", runs, *DONE)
    assert result.code == 1, "that of the cells, of which two fail here"
    assert "MLFLOW_TRACKING_URI is http://127.0.0.1:9, which cannot be reached" in result.out
    assert "the study runs all the same" in result.out
    assert f"Report: {runs / 'studies' / 'toy' / 'report' / 'report.md'}\n" in result.out
    assert "the next run" in result.err and "secret" not in result.out + result.err


@pytest.mark.parametrize("uri", ["http://127.0.0.1:99999", "mysql+pymysql://me:secret@lab/db", "http://"])
def test_a_store_that_cannot_be_used_is_told_before_training(
    uri: str, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    said = cli("run", study_file(tmp_path), "--runs", tmp_path / "runs", *DONE).refusal()
    assert said.startswith("MLFLOW_TRACKING_URI is ")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("uri", "runs", "line"),
    [
        ("sqlite:////x/runs/mlflow.db", "runs", "MLflow: fusion-bench ui"),
        ("sqlite:////x/mlflow.db", "my runs", "MLflow: fusion-bench ui --runs 'my runs'"),
        ("sqlite:////x/mlflow.db", "it's", "MLflow: fusion-bench ui --runs 'it'\"'\"'s'"),
        ("https://me:secret@lab.example/x", "runs", "MLflow: https://lab.example/x (fusion-bench ui prints"),
    ],
)
def test_one_line_says_how_to_see_it_in_mlflow(uri: str, runs: str, line: str) -> None:
    assert how_to_see(uri, Path(runs)).startswith(line)


def test_a_report_brings_a_storage_in_line(
    cli: CommandLine, study: tuple[Path, Path], tmp_path: Path
) -> None:
    file, runs = study
    address = f"sqlite:///{tmp_path / 'optuna.db'}"
    said = cli("report", file, "--runs", runs, "--storage", address)
    assert f"Optuna's trials: optuna-dashboard {address}" in said.out
    copied = shown_trials(address, "toy")
    journal = journal_storage(runs / "studies" / "toy" / "journal.log")
    assert copied == shown_trials(journal, "toy")
    nowhere = cli("report", file, "--runs", runs, "--storage", "postgresql://me:sesame@127.0.0.1:1/lab")
    assert nowhere.code == 2
    assert "Report: " in nowhere.out
    assert nowhere.err.splitlines()[-1].startswith(
        "the storage postgresql+psycopg://127.0.0.1:1/lab cannot be"
    )
    assert "sesame" not in nowhere.out + nowhere.err
    published = cli("report", runs / "studies" / "toy" / "report", "--storage", address)
    assert "is a published report, which holds no trials of Optuna" in published.refusal()


def test_a_report_says_what_it_does(cli: CommandLine, study: tuple[Path, Path], tmp_path: Path) -> None:
    file, runs = study
    result = cli("report", file, "--runs", runs, "--publish", tmp_path / "reports", "--mlflow")
    parts = [
        "reading the cells of toy",
        "saving the results",
        "computing the statistics of toy",
        "drawing the figures of toy",
        "showing toy in MLflow",
    ]
    said = result.err.splitlines()
    assert [part for part in parts if part in said] == parts
    assert "drawing" not in result.out
    rebuilt = cli("report", tmp_path / "reports" / "toy").err.splitlines()
    assert rebuilt == [
        "computing the statistics of toy",
        "drawing the figures of toy",
        "writing the page of toy",
    ]
