"""The executor of a run: this process, workers of this host or of a Ray cluster, or pilots on Slurm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from rich.console import Console

from fusion_bench.api.placement import Placed
from fusion_bench.api.request import EXECUTORS, RAY, SLURM, RunRequest
from fusion_bench.cells.executors.executor import Executor, WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.executors.on_ray.cluster import RayRequest, connected
from fusion_bench.cells.executors.slurm.cluster import SlurmCluster
from fusion_bench.cells.executors.slurm.executor import SlurmExecutor
from fusion_bench.cells.executors.slurm.options import pilot_minutes, slurm_parameters
from fusion_bench.cells.executors.slurm.pilot import SlurmPilot
from fusion_bench.cells.executors.slurm.pool import PilotPool
from fusion_bench.cells.executors.slurm.work_list import WorkFolder
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import did_you_mean
from fusion_bench.serialisation import to_json
from fusion_bench.spec.study import Study
from fusion_bench.storage import digest
from fusion_bench.study.run import study_folder

MakeExecutor: TypeAlias = Callable[[Study], Executor]
"""Makes the executor of a study or of one of its contexts."""


def check_executor(request: RunRequest) -> None:
    """Check what a request says about its executor.

    Raises:
        FusionBenchError: there is no such executor, or it lacks or has options that it should not.
    """
    executor = request.executor
    if executor not in EXECUTORS:
        raise FusionBenchError(f"there is no executor {executor!r}{did_you_mean(executor, EXECUTORS)}")
    if executor == SLURM and request.workers is None:
        raise FusionBenchError("--executor slurm: say how many jobs may run at once, for example --workers 4")
    if executor == SLURM and request.per_device is not None:
        raise FusionBenchError("--per-device: of Slurm, each job is one worker; write --workers")
    for name, given, owner in (
        ("--slurm", request.slurm, SLURM),
        ("--ray-...", request.ray != RayRequest(), RAY),
    ):
        if given and executor != owner:
            raise FusionBenchError(f"{name}: its options are for --executor {owner}")


@contextmanager
def cluster_of(request: RunRequest) -> Iterator[None]:
    """Connect this process to the Ray cluster of a request, if it has one, while the block runs.

    Raises:
        FusionBenchError: the cluster cannot be reached, or Ray is not installed.
    """
    with connected(request.ray.address) if request.executor == RAY else nullcontext():
        yield


def executors(
    request: RunRequest, placed: Placed, study: Study, console: Console
) -> AbstractContextManager[MakeExecutor]:
    """Return what makes the executors of a study and its contexts, as a context manager.

    Args:
        request: what is asked of the run.
        placed: how workers are started.
        study: the study.
        console: where is printed what the user should know.

    Raises:
        FusionBenchError: an option is not known, or a package is not installed.
    """
    if request.executor == SLURM:
        return slurm_executors(placed.settings, study, request.slurm, console)
    return nullcontext(partial(_on_workers, request, placed))


def _on_workers(request: RunRequest, placed: Placed, part: Study) -> Executor:
    """Return the executor of a study: this process, workers of this host, or workers of a Ray cluster."""
    settings = placed.settings
    logs = study_folder(settings.paths.runs, part.name) / "logs"
    if placed.need is not None:
        from fusion_bench.cells.executors.on_ray.executor import RayExecutor  # noqa: PLC0415 - imports ray

        return RayExecutor(settings, logs, placed.need, request.ray.node_runs)
    return InlineExecutor(settings) if request.smoke else LocalExecutor(settings, logs)


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
