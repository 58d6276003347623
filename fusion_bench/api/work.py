"""Train cells of a study beside other processes: what ``fusion-bench work`` calls."""

from __future__ import annotations

from functools import partial

import optuna
from rich.console import Console

from fusion_bench.api.placement import placed_workers
from fusion_bench.api.request import RunRequest
from fusion_bench.api.study import load_study
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.executors.time_limit import TimeLimit
from fusion_bench.cells.global_state import global_state_kept
from fusion_bench.reporting.progress import observer_for
from fusion_bench.study.counts import CellCounts, count_planned
from fusion_bench.study.run import study_folder
from fusion_bench.study.work import Pilot


def work_on(request: RunRequest, minutes: float | None, console: Console) -> CellCounts:
    """Train cells of a study and its contexts until none is left for this process, and return how all cells stand.

    Any number of processes may do so in one runs folder, on any number of hosts. No report is written.

    Args:
        request: what to train; its retries and ``smoke`` do not count.
        minutes: no cell is begun that would not end within so many; None is no limit.
        console: where the progress is shown.

    Raises:
        FusionBenchError: the study has a search, or its data cannot be made or read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with global_state_kept():
        study = load_study(request.study, request.overrides)
    settings = placed_workers(request, study).settings
    limit, parts = TimeLimit.of_minutes(minutes), (study, *study.contexts.values())
    for part in parts:
        logs = study_folder(settings.paths.runs, part.name) / "logs"
        executor = partial(LocalExecutor, settings, logs)
        Pilot(part, settings.paths, executor, observer_for(console), limit).work()
    return count_planned(parts, settings.paths)
