"""The executor of a run: workers of this machine, or pilots on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias

from rich.console import Console

from fusion_bench.cells.executors.executor import Executor, WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.executors.slurm.cluster import SlurmCluster
from fusion_bench.cells.executors.slurm.executor import SlurmExecutor
from fusion_bench.cells.executors.slurm.options import pilot_minutes, slurm_parameters
from fusion_bench.cells.executors.slurm.pilot import SlurmPilot
from fusion_bench.cells.executors.slurm.pool import PilotPool
from fusion_bench.cells.executors.slurm.work_list import WorkFolder
from fusion_bench.serialisation import to_json
from fusion_bench.spec.study import Study
from fusion_bench.storage import digest
from fusion_bench.study.run import study_folder

EXECUTORS = ("local", "slurm")
"""Where cells can be trained."""
MakeExecutor: TypeAlias = Callable[[Study], Executor]
"""Makes the executor of a study or of one of its contexts."""


@contextmanager
def local_executors(settings: WorkerSettings, *, inline: bool) -> Iterator[MakeExecutor]:
    """Yield what makes executors on this machine: processes, or this process itself."""

    def make(part: Study) -> Executor:
        if inline:
            return InlineExecutor(settings)
        return LocalExecutor(settings, study_folder(settings.paths.runs, part.name) / "logs")

    yield make


@contextmanager
def slurm_executors(
    settings: WorkerSettings, study: Study, options: Sequence[str], console: Console
) -> Iterator[MakeExecutor]:
    """Yield what makes executors of a study and its contexts that share the pilots of one Slurm cluster.

    Pilots that an earlier command submitted with the same settings and options are found again.

    Args:
        settings: how pilots start workers; ``workers`` is the number of pilots.
        study: the study.
        options: ``KEY=VALUE`` texts; see `fusion_bench.cells.executors.slurm.options`.
        console: where is printed what the user should know.

    Raises:
        FusionBenchError: an option is not known, or submitit is not installed.
    """
    parameters = slurm_parameters(options, settings.threads)
    paths = settings.paths
    asked = [str(paths.runs), paths.device, settings.threads, settings.keep_weights, to_json(settings.limits)]
    found = [{name: str(root) for name, root in paths.roots.items()}, sorted(paths.weight_files)]
    key = digest([*asked, *found, parameters], 8)
    folder = WorkFolder(study_folder(paths.runs, study.name) / "slurm" / key)
    pilot = SlurmPilot(folder, replace(settings, workers=1), pilot_minutes(parameters))
    cluster = SlurmCluster(f"fusion-bench-{study.name}-{key}", folder.logs, parameters)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    with PilotPool(cluster, pilot, settings.workers, say) as pool:
        yield lambda part: SlurmExecutor(pool, paths.runs, _all_seeds(part))


def _all_seeds(study: Study) -> tuple[int, ...]:
    return (*study.seeds, *(() if study.search is None else study.search.seeds))
