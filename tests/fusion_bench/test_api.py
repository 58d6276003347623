"""The public Python API: names that cost nothing until they are used, and reports as pandas tables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pandas as pd
import pytest
import torch

import fusion_bench
import toys
from command_line import environment, paths_of, train
from few_processes import share_workers
from fusion_bench import Report, load_report, load_study, run_study
from fusion_bench.api import run
from fusion_bench.errors import FusionBenchError, StudyFileError
from fusion_bench.reporting.report.report import write_report
from fusion_bench.results.collect import collect
from fusion_bench.spec.study import Study
from fusion_bench.study.trials.journal_file import journal_storage
from optuna_trials import shown_trials
from toys import STUDY, study_file

REPORTS = Path(__file__).parents[2] / "reports"

# MLflow calls what SQLAlchemy gives up.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout


def test_the_import_is_light_and_names_come_when_they_are_used() -> None:
    said = python(
        "import sys, fusion_bench\n"
        "heavy = {'torch', 'pandas', 'numpy', 'pydantic', 'matplotlib', 'mlflow', 'optuna', 'typer'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print(sorted(name for name in sys.modules if name.startswith('fusion_bench.')))\n"
        "print(fusion_bench.load_report.__module__, 'pandas' in sys.modules)\n"
    )
    assert said.splitlines() == ["[]", "[]", "fusion_bench.api.report True"]


def test_the_public_names_are_listed_and_an_unknown_one_is_refused() -> None:
    assert set(fusion_bench.__all__) <= set(dir(fusion_bench))
    for name in fusion_bench.__all__:
        assert getattr(fusion_bench, name).__doc__
    assert fusion_bench.Study is Study
    with pytest.raises(AttributeError, match="module 'fusion_bench' has no attribute 'load_reports'"):
        fusion_bench.load_reports  # type: ignore[attr-defined]  # noqa: B018


def test_a_study_is_loaded_from_text_or_path_with_overrides(tmp_path: Path) -> None:
    file = study_file(tmp_path)
    assert load_study(str(file)).name == load_study(file).name == "toy"
    assert load_study(file, ["seeds=[0, 7]", "title=Other"]).seeds == (0, 7)
    assert load_study(file, "title=Another").title == "Another"  # one override, not a list of letters
    with pytest.raises(StudyFileError, match="tain: unknown key"):
        load_study(file, ["tain.epochs=3"])


def rows_of(page: str, heading: str) -> dict[str, list[str]]:
    """The first Markdown table behind a heading: the cells of each row by the row's first cell."""
    behind = page[page.index(heading) :]
    table = behind[behind.index("|") :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip().strip("*`") for cell in line.strip("|").split("|")] for line in table]
    return {row[0].replace("\\", ""): row[1:] for row in rows}


def percent(share: float) -> float:
    return round(100 * share, 1)


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").rstrip("ms %"))


@pytest.mark.parametrize("name", ["quickstart", "cogent"])
def test_the_numbers_are_those_of_the_published_page(name: str) -> None:
    report, page = load_report(REPORTS / name), (REPORTS / name / "report.md").read_text()
    assert (report.name, report.folder) == (name, REPORTS / name)
    assert page.startswith(f"# {report.title}\n")

    primary = (report.means["split"] == report.primary_split) & (report.means["metric"] == report.primary)
    written = {**rows_of(page, "## Results"), **rows_of(page, "**Controls**")}
    means = report.means[primary].set_index("arm")
    assert set(means.index) == set(written) == set(report.arms["arm"])
    latency = report.arms.set_index("arm")["latency_ms"]
    for arm, row in means.iterrows():
        estimate, interval, seeds, *_, milliseconds = written[str(arm)]
        low, high = interval.split(" to ")
        assert [number(estimate), number(low), number(high)] == [
            percent(row["estimate"]),
            percent(row["low"]),
            percent(row["high"]),
        ]
        assert int(seeds.split()[0]) == row["seeds"]
        if milliseconds != "\N{EN DASH}":
            assert number(milliseconds) == float(f"{latency[arm]:.3g}")

    compared = report.comparisons.set_index("arm")
    written = rows_of(page, f"## Differences from `{report.reference}`")
    assert set(compared.index) == set(written)
    for arm, row in compared.iterrows():
        difference, interval, *_, seeds, verdict = written[str(arm)]
        low, high = interval.split(" to ")
        assert [number(difference), number(low), number(high)] == [
            percent(row["estimate"]),
            percent(row["low"]),
            percent(row["high"]),
        ]
        assert int(seeds) == row["seeds"]
        assert verdict == (row["verdict"] or "control")
        assert row["reference"] == report.reference


def test_the_tables_are_tidy_and_agree_with_each_other() -> None:
    report = load_report(REPORTS / "rec")
    assert not report.means.duplicated(["split", "metric", "arm"]).any()
    assert not report.per_seed.duplicated(["split", "metric", "arm", "seed"]).any()
    assert not report.samples.duplicated(["arm", "seed", "split", "sample"]).any()
    assert not report.curves.duplicated(["arm", "seed", "epoch", "quantity"]).any()
    assert not report.cells.duplicated(["arm", "seed"]).any()
    assert (report.comparisons["arm"] != report.reference).all()
    assert report.samples.columns[:8].tolist() == [
        *("arm", "seed", "split", "sample", "cluster", "prediction", "truth", "score")
    ]
    assert {"iou", "words"} <= set(report.samples.columns)  # a number of the task, a slice of the data set

    scores = report.samples.groupby(["split", "arm", "seed"])["score"].mean()
    measured = report.per_seed[report.per_seed["metric"] == report.primary]
    assert measured.set_index(["split", "arm", "seed"])["value"].to_dict() == pytest.approx(scores.to_dict())
    mean = measured.groupby(["split", "arm"])["value"].mean()
    shown = report.means[report.means["metric"] == report.primary].set_index(["split", "arm"])["estimate"]
    assert shown.to_dict() == pytest.approx(mean.to_dict())

    laconv = report.arms.set_index("arm").loc["laconv"]
    assert laconv["role"] == "reference"
    assert isinstance(laconv["settings"], dict)
    assert report.arms["latency_ms"].dtype == report.arms["budget_distance"].dtype == float
    assert pd.json_normalize(report.arms["settings"]).shape[0] == len(report.arms)
    assert "DataFrame" not in repr(report)
    assert len(repr(report)) < 400


def test_a_context_has_a_report_of_its_own() -> None:
    report = load_report(REPORTS / "backbones")
    assert report.contexts
    label, folder = next(iter(report.contexts.items()))
    inner = load_report(folder)
    assert inner.name.startswith("backbones--")
    assert label
    assert set(inner.arms["arm"]) == set(report.arms["arm"])
    assert inner.contexts == {}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A toy study and its runs folder: every cell is done, and the report is written."""
    folder = tmp_path_factory.mktemp("trained")
    file, runs = study_file(folder), folder / "runs"
    train(file, runs)
    study = load_study(file)
    results = collect(study, paths_of(study, runs))
    write_report(results, runs / "studies" / "toy" / "report")
    return file, runs


def test_a_study_that_has_run_is_read_from_its_own_folder(trained: tuple[Path, Path]) -> None:
    folder = trained[1] / "studies" / "toy"
    report = load_report(str(folder))
    assert report.folder == folder / "report"
    assert (report.folder / "report.md").is_file()
    assert report.arms["arm"].tolist() == ["product", "weaker"]
    assert report.comparisons["arm"].tolist() == ["weaker"]
    assert (report.cells["state"] == "done").all()
    assert report.samples.shape[0] == 4 * 2 * 72  # cells, evaluated splits, questions
    pd.testing.assert_frame_equal(report.means, load_report(report.folder).means)


def test_a_folder_without_a_report_is_refused_in_one_sentence(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    def refusal(folder: Path) -> str:
        with pytest.raises(FusionBenchError) as refused:
            load_report(folder)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    absent = tmp_path / "nothing"
    assert refusal(absent).startswith(f"{absent} does not exist; name the folder of a published report")
    assert refusal(tmp_path).startswith(f"{tmp_path} holds no report (it has no study.json); name")
    assert refusal(trained[0]).startswith(f"{trained[0]} is not a folder; name")
    study = shutil.copytree(trained[1] / "studies", tmp_path / "studies") / "toy"
    shutil.rmtree(study / "report")
    assert refusal(study) == (f"{study} has no report yet; write it with: fusion-bench report {study}")
    damaged = shutil.copytree(trained[1] / "studies" / "toy" / "report", tmp_path / "damaged")
    (damaged / "results.parquet").write_bytes(b"")
    assert "results.parquet is damaged" in refusal(damaged)
    (damaged / "results.parquet").unlink()
    assert "results.parquet does not exist" in refusal(damaged)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are few and find the toys, and MLflow is the one beside the runs."""
    share_workers(monkeypatch)
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.usefixtures("quiet")
@pytest.mark.slow
def test_a_study_is_run_from_python_and_gives_the_same_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trained: tuple[Path, Path]
) -> None:
    file, runs, threads = study_file(tmp_path), tmp_path / "runs", torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        report = run_study(file, runs=str(runs), workers=1, device="cpu")
        assert torch.get_num_threads() == threads + 1  # a notebook goes on as it was
    finally:
        torch.set_num_threads(threads)
    assert isinstance(report, Report)
    said = capsys.readouterr().out
    assert said.count(" started") == 4
    assert (runs / "mlflow.db").is_file()
    # The cells were trained by worker processes; those of `trained` in this one.
    pd.testing.assert_frame_equal(report.means, load_report(trained[1] / "studies" / "toy").means)

    again = run_study(file, runs=runs, workers=1, device="cpu", overrides="seeds=[0, 1, 2]")
    assert capsys.readouterr().out.count(" started") == 2  # the new seed alone
    assert again.cells["seed"].nunique() == 3
    for name in ("means", "comparisons", "samples", "curves"):
        loaded = load_report(runs / "studies" / "toy")
        pd.testing.assert_frame_equal(getattr(again, name), getattr(loaded, name))


@pytest.mark.usefixtures("quiet")
@pytest.mark.slow
def test_a_smoke_run_needs_no_worker_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"sqlite:///{tmp_path / 'optuna.db'}"
    report = run_study(study_file(tmp_path), runs=tmp_path / "runs", smoke=True, storage=address)
    assert report.name == "toy-smoke"
    copied = shown_trials(address, "toy-smoke")
    journal = journal_storage(tmp_path / "runs" / "studies" / "toy-smoke" / "journal.log")
    assert copied == shown_trials(journal, "toy-smoke")
    assert len(copied) == len(report.cells)
    assert "planted_nan seed 0 FAILED" in capsys.readouterr().out
    assert set(report.cells.loc[report.cells["state"] == "failed", "arm"]) == {"planted_nan"}
    assert not (tmp_path / "runs" / "studies" / "toy-smoke" / "logs").exists()


def test_what_a_module_does_when_it_is_imported_reaches_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(toys.__file__).parent / "broken_modules.py").read_text()
    early = "import os, torch\nos.environ['EARLY'] = '1'\ntorch.set_default_dtype(torch.float64)\n"
    (tmp_path / "early.py").write_text(text.replace("import torch\n", early, 1))
    seen: list[tuple[str | None, torch.dtype]] = []

    def smoke_study(study: Study) -> Study:
        assert next(arm.label for arm in study.arms) == "product"
        seen.append((os.environ.get("EARLY"), torch.get_default_dtype()))
        raise FusionBenchError("far enough")

    monkeypatch.setattr(run, "smoke_study", smoke_study)
    with pytest.raises(FusionBenchError, match="far enough"):
        run_study(
            study_file(tmp_path),
            runs=tmp_path / "runs",
            smoke=True,
            overrides=[f"arms.product={{module: '{tmp_path}/early.py:Sound'}}"],
        )
    assert seen == [(None, torch.float32)]


def test_a_wrong_argument_is_refused_before_anything_trains(tmp_path: Path) -> None:
    file, runs = study_file(tmp_path), tmp_path / "runs"
    with pytest.raises(FusionBenchError, match="workers is 0: write 1 or more"):
        run_study(file, runs=runs, workers=0)
    with pytest.raises(FusionBenchError, match="device abacus: write cpu, cuda or cuda:1"):
        run_study(file, runs=runs, device="abacus")
    with pytest.raises(FusionBenchError, match="--storage is not the address of a database"):
        run_study(file, runs=runs, storage="optuna.db")
    with pytest.raises(FusionBenchError, match="'circles' cannot be given a folder: the study 'toy' reads"):
        run_study(file, runs=runs, data={"circles": "/data"})
    with pytest.raises(StudyFileError, match=re.escape("cannot read")):
        run_study(tmp_path / "nothing.yaml", runs=runs)
    wrong = study_file(tmp_path, STUDY.replace("gain", "gian"), "wrong.yaml")
    with pytest.raises(StudyFileError, match="did you mean 'gain'"):
        run_study(wrong, runs=runs)
    assert not runs.exists()


@pytest.mark.slow
def test_a_script_without_a_main_guard_may_run_a_study(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    # Modules of this project: cells of others have a process each, which takes long to start.
    own = {
        "toys:MeanText": "gru",
        '"toys:Product"': "film",
        "gain: 0.5": "coordinates: false",
        "[0, 1]": "[0]",
    }
    file = study_file(
        tmp_path / "elsewhere", reduce(lambda text, change: text.replace(*change), own.items(), STUDY)
    )
    script.write_text(
        f"from fusion_bench import run_study\n"
        f"print(run_study({str(file)!r}, workers=1, device='cpu').comparisons.to_string())\n"
    )
    ran = subprocess.run(
        [sys.executable, str(script)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment() | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    assert ran.returncode == 0, ran.stderr
    assert "no verdict" in ran.stdout
    assert [path.name for path in (tmp_path / "runs" / "studies").iterdir()] == ["toy"]
