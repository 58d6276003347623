"""Run a study and write its report: what ``fusion-bench run`` and `run_study` both call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import optuna
import torch
from rich.console import Console

from fusion_bench.api.against import plan_against_report, report_beside, worse_arms
from fusion_bench.api.executors import MakeExecutor, check_executor, cluster_of, executors
from fusion_bench.api.placement import placed_workers
from fusion_bench.api.report import Report, load_report
from fusion_bench.api.request import LOCAL, RunRequest
from fusion_bench.api.study import load_study, one_or_more
from fusion_bench.cells.executors.on_ray.cluster import RayRequest
from fusion_bench.cells.global_state import global_state_kept
from fusion_bench.comparing.against import plan_against
from fusion_bench.comparing.joined_cells import save_joined_cells
from fusion_bench.errors import FusionBenchError, NoResultError
from fusion_bench.reporting.decidable.sentences import few_seeds
from fusion_bench.reporting.mlflow_.live import LiveMlflow, Observers
from fusion_bench.reporting.mlflow_.store import StoreUnreachable, TrackingStore
from fusion_bench.reporting.mlflow_.sync import sync_study
from fusion_bench.reporting.progress import observer_for, parts_shown
from fusion_bench.reporting.published.published_cells import save_cells, save_search_cells
from fusion_bench.reporting.report.report import WrittenReport, make_report, to_publish
from fusion_bench.reporting.tables.tables import Tables, build_tables
from fusion_bench.results.collect import collect
from fusion_bench.results.looks import LookTaker
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.contexts import report_folder
from fusion_bench.spec.smoke import PLANTED, smoke_study
from fusion_bench.spec.study import Study
from fusion_bench.study.counts import CellCounts, count_cells
from fusion_bench.study.run import RunOptions, RunResult, StudyRun, study_folder
from fusion_bench.study.searching.search_results import with_choices
from fusion_bench.study.trials.database import database_of
from fusion_bench.study.trials.mirror import Mirror
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """The outcome of a run.

    Attributes:
        results: what the report shows: the study's results, beside those of a report that it is compared with.
        own: the results of the cells of the study alone.
        report: the path of ``report.md``.
        tables: the numbers of the report.
        counts: how many cells of the study and its contexts have a result.
        worse: the arms that are decided to be worse than the reference; of a study that is compared with a report,
            those that the report does not have.
    """

    results: StudyResults
    own: StudyResults
    report: Path
    tables: Tables
    counts: CellCounts
    worse: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ShownReport:
    """A report of finished cells.

    Attributes:
        own: the results of the cells of the study.
        results: what the report shows: the same, beside those of a report that the study is compared with.
        written: the last report written.
    """

    own: StudyResults
    results: StudyResults
    written: WrittenReport


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
    per_device: int | None = None,
    executor: str = LOCAL,
    ray: RayRequest | None = None,
    slurm: Sequence[str] = (),
    storage: str | None = None,
    against: str | Path | None = None,
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
        per_device: how many cells run at once on each GPU of this host, instead of ``workers``.
        executor: ``"local"``: processes of this host; ``"ray"``: the nodes of a Ray cluster; ``"slurm"``: ``workers``
            jobs of a Slurm cluster.
        ray: what is asked of Ray.
        slurm: parameters of sbatch, such as ``"partition=gpu"``.
        storage: the address of a database (``"postgresql://USER@HOST/DATABASE"``, ``"sqlite:///FILE.db"``) that
            Optuna's trials are copied to as well, for optuna-dashboard.
        against: the folder of a report (``"reports/quickstart"``) with whose arms the study's are compared; those
            that the report has are not trained again.

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
        per_device=per_device,
        executor=executor,
        ray=ray or RayRequest(),
        slurm=one_or_more(slurm),
        storage=storage,
        against=None if against is None else Path(against).expanduser(),
    )
    with _libraries_as_before():
        console = Console()
        finished = run_and_report(request, console)
        try:
            track(finished.own, finished.report, finished.tables, request.runs, console)
        except FusionBenchError as error:  # nothing is lost
            console.print(str(error), markup=False, highlight=False, soft_wrap=True)
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
    check_executor(request)
    with cluster_of(request):
        return _run_and_report(request, console)


def _run_and_report(request: RunRequest, console: Console) -> FinishedRun:
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the console shows the progress
    with (
        global_state_kept()
    ):  # a module's file may change it when it is imported, and workers get the environment
        study = load_study(request.study, request.overrides)
    if request.smoke:
        study = smoke_study(study)
    try:
        TrackingStore.of(request.runs).check()  # told now, not after hours of training
    except StoreUnreachable as error:  # it may answer later
        console.print(f"{error}; {_LATER}", markup=False, highlight=False, soft_wrap=True)
    if request.storage is not None:
        database_of(request.storage)
    placed = placed_workers(request, study)
    paths = placed.settings.paths
    plan = None
    if request.against is not None:  # before anything is trained
        plan = plan_against_report(request, study, paths, console)
        study = plan.study
    if not request.smoke and (few := few_seeds(study, study.arms)):
        console.print(few, markup=False, highlight=False, soft_wrap=True)
    with executors(request, placed, study, console) as make:
        ran = _train(study, paths, request, console, make)
        runs = {study.name: ran}
        for label, context in study.contexts.items():
            console.print(f"the same arms under {label}:", markup=False, highlight=False, soft_wrap=True)
            runs[context.name] = _train(with_choices(context, ran.search), paths, request, console, make)
    # The arm that a toy run fails on purpose is not counted.
    counts = count_cells(runs.values(), paths, {PLANTED} if request.smoke else ())
    with parts_shown(console) as notify:
        try:
            results = collect(study, replace(paths, notify=notify), runs)
        except NoResultError as error:
            raise NothingFinishedError(str(error), counts) from error
        folder = study_folder(paths.runs, study.name) / "report"
        joined = None if plan is None else report_beside(results, paths.runs, plan, folder)
        shown = results if joined is None else joined.results
        report = make_report(shown, folder, notify)
    return FinishedRun(
        shown, results, report.path, report.tables, counts, worse_arms(report.tables, plan, joined)
    )


def _train(
    study: Study, paths: RunPaths, request: RunRequest, console: Console, make: MakeExecutor
) -> RunResult:
    """Train one study, without its contexts."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    options = RunOptions(request.retry_failed, request.retry_stale)
    folder, looks = study_folder(paths.runs, study.name), LookTaker(study, paths)
    with (
        Mirror(folder, database_of(request.storage), say) if request.storage else nullcontext(),
        LiveMlflow(study, paths.runs, TrackingStore.of(paths.runs), say) as live,
    ):
        observer = Observers(observer_for(console), live)
        return StudyRun(study, paths, partial(make, study), observer, options, looks).run()


def report_on(
    study: Study,
    paths: RunPaths,
    publish: Path | None,
    console: Console,
    *,
    paper: bool = False,
    against: Path | None = None,
) -> ShownReport:
    """Write the report of a study's finished cells.

    Args:
        study: the study.
        paths: where its cells and data lie.
        publish: also write it to ``publish/NAME``.
        console: where the progress is shown.
        paper: also make the pack for a paper, beside the last report written.
        against: the folder of a report with whose arms the study is compared.

    Raises:
        NotPairableError: the arms of the study cannot be paired with those of the report.
        FusionBenchError: no cell is finished, or the search of the study is not over; its finished trials are
            published all the same.
    """
    plan = None
    if against is not None:
        plan = plan_against(study, paths, against, before_training=False)
        study = plan.study
    with parts_shown(console) as notify:
        if publish is not None:  # first, because a search that is not over gives no report
            trials = save_search_cells(study, paths, publish / study.name)
        try:
            results = collect(study, replace(paths, notify=notify))
        except FusionBenchError as error:
            if publish is None or not trials:
                raise
            kept = f"{trials} finished trials are kept in {publish / study.name}"
            raise FusionBenchError(f"{error}; there is no report yet ({kept})") from error
        folder = study_folder(paths.runs, study.name) / "report"
        joined = None if plan is None else report_beside(results, paths.runs, plan, folder)
        shown = results if joined is None else joined.results
        report = make_report(shown, folder, notify, paper=paper and publish is None)
        if publish is not None:
            report = make_report(to_publish(shown), publish / study.name, notify, paper=paper)
            if plan is None or joined is None:
                save_cells(results, paths.runs, publish / study.name)
            else:
                save_joined_cells(joined, paths.runs, plan, publish / study.name)
    return ShownReport(results, shown, report)


def track(results: StudyResults, report: Path, tables: Tables, runs: Path, console: Console) -> None:
    """Bring MLflow in line with a report and those of its contexts.

    Args:
        results: what the report was made from; ``report`` is the path of its ``report.md``.
        tables: the numbers of the report.
        runs: the runs folder, which holds MLflow's database unless MLFLOW_TRACKING_URI names another store.
        console: where the progress is shown.

    Raises:
        FusionBenchError: the store cannot be reached or is damaged; the report is written all the same.
    """
    store = TrackingStore.of(runs)
    try:
        with parts_shown(console) as notify:
            for label, context in results.contexts.items():
                own = report.parent / report_folder(label) / report.name
                sync_study(context, own, store, notify, tables=build_tables(context), runs=runs)
            sync_study(results, report, store, notify, tables=tables, runs=runs)
    except FusionBenchError as error:
        raise FusionBenchError(
            f"{error} (the cells are kept and the report is written, {report}; the next run, or `fusion-bench report "
            "STUDY.yaml --mlflow`, shows it in MLflow once that is solved)"
        ) from error


_LATER = "the study runs all the same, and MLflow shows it once the server answers"


@contextmanager
def _libraries_as_before() -> Iterator[None]:
    """Put back what a run changes for the whole process: a notebook goes on with other work afterwards."""
    threads, verbosity = torch.get_num_threads(), optuna.logging.get_verbosity()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        optuna.logging.set_verbosity(verbosity)
