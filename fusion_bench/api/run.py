"""Run a study and write its report: what ``fusion-bench run`` and `run_study` both call."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import optuna
import torch
from rich.console import Console

from fusion_bench.api.report import Report, load_report
from fusion_bench.api.study import load_study, one_or_more, run_paths
from fusion_bench.cells.executors.executor import Executor, WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.global_state import global_state_kept
from fusion_bench.errors import FusionBenchError, NoResultError
from fusion_bench.reporting.decidable.sentences import few_seeds
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import sync_study
from fusion_bench.reporting.progress import observer_for, parts_shown
from fusion_bench.reporting.report.report import WrittenReport, make_report
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.collect import collect
from fusion_bench.results.looks import LookTaker
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.contexts import report_folder
from fusion_bench.spec.smoke import PLANTED, smoke_study
from fusion_bench.spec.study import Study
from fusion_bench.study.counts import CellCounts, count_cells
from fusion_bench.study.run import RunOptions, RunResult, StudyRun, study_folder
from fusion_bench.study.searching.search_results import with_choices
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True)
class RunRequest:
    """A study to run, and the options of the run.

    Attributes:
        study: the study file; ``overrides`` are changes to it (``train.epochs=3``).
        runs: the folder of cells, caches and reports.
        workers: how many cells run at once; None: as many as cores / threads on a CPU, one on a GPU.
        data: folder of each data set by its name.
        device: ``cpu``, ``cuda`` or ``cuda:1``; None: a GPU if there is one.
        retry_failed: try failed cells again; ``retry_stale``: train stale cells anew.
        keep_weights: write each cell's weights beside its result.
        smoke: toy sizes, in this process; see `fusion_bench.spec.smoke`.
    """

    study: Path
    overrides: tuple[str, ...] = ()
    runs: Path = Path("runs")
    workers: int | None = None
    data: Mapping[str, Path] = field(default_factory=dict)
    device: str | None = None
    retry_failed: bool = False
    retry_stale: bool = False
    keep_weights: bool = False
    smoke: bool = False


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """The outcome of a run.

    Attributes:
        results: the study's results.
        report: the path of ``report.md``.
        tables: the numbers of the report.
        counts: how many cells of the study and its contexts have a result.
    """

    results: StudyResults
    report: Path
    tables: Tables
    counts: CellCounts


class NothingFinishedError(NoResultError):
    """A run after which no cell of the study has a result; ``counts`` says how its cells ended."""

    def __init__(self, message: str, counts: CellCounts) -> None:
        super().__init__(message)
        self.counts = counts


def run_study(
    path: str | Path,
    *,
    runs: str | Path = "runs",
    workers: int | None = None,
    overrides: Sequence[str] = (),
    data: Mapping[str, str | Path] | None = None,
    device: str | None = None,
    retry_failed: bool = False,
    retry_stale: bool = False,
    keep_weights: bool = False,
    smoke: bool = False,
) -> Report:
    """Train what a study still lacks, write its report and return it: ``fusion-bench run`` in Python.

    The progress is printed. Cells are trained by processes of their own, which end with this call. A cell that fails
    is recorded, and the others go on. A call that is interrupted keeps every finished cell; the next call trains the
    rest.

    Args:
        path: the study file.
        runs: the folder of cells, caches and reports; it is made if it does not exist.
        workers: how many cells run at once; by default as many as cores / threads on a CPU, one on a GPU.
        overrides: changes to the study's keys, as ``--set`` takes them: ``["train.epochs=3", "seeds=[0, 1]"]``.
        data: folder of each data set that is not built in, by its name: ``{"nlvr": "/data/nlvr"}``.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; by default a GPU if there is one.
        retry_failed: try failed cells again.
        retry_stale: train anew the cells whose source, data or weights changed since; old results are put aside.
        keep_weights: write each cell's ``model.safetensors`` beside its result.
        smoke: a toy run of the study that takes a minute or two and trains in this process. Its numbers mean nothing;
            its name is ``NAME-smoke``, and one of its arms (``planted_nan``) fails on purpose.

    Returns:
        The same `Report` that `load_report` reads from ``runs/studies/NAME``.

    Raises:
        StudyFileError: the study file cannot be read, or asks for something impossible.
        FusionBenchError: another run of the study is going on, its data cannot be made or read, no cell has a result,
            or an argument is wrong; the message says which and what to do.
    """
    request = RunRequest(
        study=Path(path),
        overrides=one_or_more(overrides),
        runs=Path(runs).expanduser(),
        workers=workers,
        data={name: Path(folder) for name, folder in (data or {}).items()},
        device=device,
        retry_failed=retry_failed,
        retry_stale=retry_stale,
        keep_weights=keep_weights,
        smoke=smoke,
    )
    with _libraries_as_before():
        console = Console()
        finished = run_and_report(request, console)
        track(finished.results, finished.report, request.runs, console)
        return load_report(finished.report.parent)


def run_and_report(request: RunRequest, console: Console) -> FinishedRun:
    """Train what a study and its contexts still lack, and write the report.

    Args:
        request: what to run.
        console: where the progress is shown.

    Raises:
        NothingFinishedError: no cell of the study has a result.
        FusionBenchError: MLflow, where `track` shows the study, cannot be reached; or see
            `fusion_bench.study.run.StudyRun.run`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the console shows the progress
    with (
        global_state_kept()
    ):  # a module's file may change it when it is imported, and workers get the environment
        study = load_study(request.study, request.overrides)
    if request.smoke:
        study = smoke_study(study)
    device = chosen_device(request.device, on_gpu=not request.smoke)
    TrackingStore.of(request.runs).check()  # told now, not after hours of training
    settings = worker_settings(request, study, device)
    if not request.smoke and (few := few_seeds(study, study.arms)):
        console.print(few, markup=False, highlight=False, soft_wrap=True)
    ran = _train(study, settings, request, console)
    runs = {study.name: ran}
    for label, context in study.contexts.items():
        console.print(f"the same arms under {label}:", markup=False, highlight=False, soft_wrap=True)
        runs[context.name] = _train(with_choices(context, ran.search), settings, request, console)
    # The arm that a toy run fails on purpose is not counted.
    counts = count_cells(runs.values(), settings.paths, {PLANTED} if request.smoke else ())
    with parts_shown(console) as notify:
        try:
            results = collect(study, replace(settings.paths, notify=notify), runs)
        except NoResultError as error:
            raise NothingFinishedError(str(error), counts) from error
        report = make_report(results, study_folder(settings.paths.runs, study.name) / "report", notify)
    return FinishedRun(results, report.path, report.tables, counts)


def worker_settings(request: RunRequest, study: Study, device: str) -> WorkerSettings:
    """Return how workers are started for a request.

    Raises:
        FusionBenchError: the number of workers is below 1.
    """
    cores, threads = os.cpu_count() or 1, study.threads
    if request.workers is not None and request.workers < 1:
        raise FusionBenchError(f"workers is {request.workers}: write 1 or more, or leave it out")
    workers = request.workers or (1 if device.startswith("cuda") else max(1, cores // threads))
    data_workers = 1 if request.smoke else cores
    paths = run_paths(study, request.runs, request.data, device=device, data_workers=data_workers)
    return WorkerSettings(paths, workers, threads, request.keep_weights, study.limits)


def _train(study: Study, settings: WorkerSettings, request: RunRequest, console: Console) -> RunResult:
    """Train one study, without its contexts."""

    def executor() -> Executor:
        if request.smoke:
            return InlineExecutor(settings)
        return LocalExecutor(settings, study_folder(settings.paths.runs, study.name) / "logs")

    options = RunOptions(request.retry_failed, request.retry_stale)
    looks = LookTaker(study, settings.paths)
    return StudyRun(study, settings.paths, executor, observer_for(console), options, looks).run()


def chosen_device(asked: str | None, *, on_gpu: bool) -> str:
    """The device asked for; else a GPU if there is one and ``on_gpu``.

    Raises:
        FusionBenchError: there is no such device.
    """
    if asked is None:
        return "cuda" if torch.cuda.is_available() and on_gpu else "cpu"
    kind, _, number = asked.partition(":")
    if asked != "cpu" and (kind != "cuda" or not (number or "0").isdecimal()):
        raise FusionBenchError(f"--device {asked}: write cpu, cuda or cuda:1")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise FusionBenchError(f"--device {asked}: torch finds {torch.cuda.device_count()} GPUs here")
    return asked


def report_on(
    study: Study, paths: RunPaths, publish: Path | None, console: Console
) -> tuple[StudyResults, WrittenReport]:
    """Write the report of a study's finished cells.

    Args:
        study: the study.
        paths: where its cells and data lie.
        publish: also write it to ``publish/NAME``.
        console: where the progress is shown.

    Returns:
        The results, and the last report written.

    Raises:
        FusionBenchError: no cell is finished.
    """
    with parts_shown(console) as notify:
        results = collect(study, replace(paths, notify=notify))
        report = make_report(results, study_folder(paths.runs, study.name) / "report", notify)
        if publish is not None:
            report = make_report(results, publish / study.name, notify)
    return results, report


def track(results: StudyResults, report: Path, runs: Path, console: Console) -> None:
    """Bring MLflow in line with a report and those of its contexts.

    Args:
        results: what the report was made from; ``report`` is the path of its ``report.md``.
        runs: the runs folder, which holds MLflow's database unless MLFLOW_TRACKING_URI names another store.
        console: where the progress is shown.

    Raises:
        FusionBenchError: the store cannot be reached or is damaged; the report is written all the same.
    """
    store = TrackingStore.of(runs)
    try:
        with parts_shown(console) as notify:
            for label, context in results.contexts.items():
                sync_study(context, report.parent / report_folder(label) / report.name, store, notify)
            sync_study(results, report, store, notify)
    except FusionBenchError as error:
        raise FusionBenchError(
            f"{error} (the report is written, {report}; `fusion-bench report STUDY.yaml --mlflow` shows it in MLflow "
            "once that is solved)"
        ) from error


@contextmanager
def _libraries_as_before() -> Iterator[None]:
    """Put back what a run changes for the whole process: a notebook goes on with other work afterwards."""
    threads, verbosity = torch.get_num_threads(), optuna.logging.get_verbosity()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        optuna.logging.set_verbosity(verbosity)
