"""Train cells of a study beside other processes: what ``fusion-bench work`` calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

import optuna
from rich.console import Console

from fusion_bench.api.placement import placed_workers
from fusion_bench.api.request import RunRequest
from fusion_bench.api.study import load_study
from fusion_bench.cells.current_inputs import CurrentInputs
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.executors.time_limit import TimeLimit
from fusion_bench.cells.global_state import global_state_kept
from fusion_bench.reporting.progress import observer_for
from fusion_bench.results.looks import study_cells
from fusion_bench.spec.study import Study
from fusion_bench.study.counts import CellCounts, count_statuses
from fusion_bench.study.run import study_folder
from fusion_bench.study.work import Pilot
from fusion_bench.training.paths import RunPaths


def work_on(request: RunRequest, minutes: float | None, console: Console) -> CellCounts:
    """Train cells of a study and its contexts until none is left for this process, and return how all cells stand.

    Any number of processes may do so in one runs folder, on any number of hosts. No report is written. A study with
    looks is trained look by look.

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
        counts: Mapping[str, int] | None = None
        while (asked := _asked_seeds(part, settings.paths)) != counts:
            counts = asked
            Pilot(part, settings.paths, executor, observer_for(console), limit, counts).work()
    inputs = CurrentInputs(settings.paths)
    cells = (study_cells(part, part.arms, settings.paths, inputs) for part in parts)
    return count_statuses(status for found in cells for status in found.statuses)


def _asked_seeds(study: Study, paths: RunPaths) -> Mapping[str, int]:
    """Return how many seeds the study asks of each arm; with looks, these depend on the finished cells alone.

    So any number of pilots, and a run, ask for the same cells.
    """
    if not study.looks or study.search is not None:
        return study.seed_counts
    cells = study_cells(study, study.arms, paths).statuses
    return Counter(status.cell.arm for status in cells)
