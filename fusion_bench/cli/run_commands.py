"""The commands ``fusion-bench run`` and ``fusion-bench work``: their options, and the call of the implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_bench.cli.options import (
    Against,
    DataRoots,
    Device,
    ExecutorName,
    ExecutorOption,
    FailIfOption,
    KeepWeights,
    Overrides,
    PerDevice,
    RayAddress,
    RayCpus,
    RayGpus,
    RayNodeRuns,
    Runs,
    SlurmOptions,
    Smoke,
    Storage,
    StudyArgument,
    Workers,
    check_study,
)


def run(
    study: StudyArgument,
    runs: Runs = Path("runs"),
    workers: Workers = None,
    per_device: PerDevice = None,
    overrides: Overrides = None,
    data: DataRoots = None,
    device: Device = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train failed cells again.")] = False,
    retry_stale: Annotated[
        bool,
        typer.Option("--retry-stale", help="Train stale cells again; their old results are moved aside."),
    ] = False,
    keep_weights: KeepWeights = False,
    smoke: Smoke = False,
    executor: ExecutorOption = ExecutorName.local,
    ray_address: RayAddress = None,
    ray_cpus: RayCpus = None,
    ray_gpus: RayGpus = None,
    ray_node_runs: RayNodeRuns = "",
    slurm: SlurmOptions = None,
    storage: Storage = None,
    against: Against = None,
    fail_if: FailIfOption = None,
) -> None:
    """Train the cells of a study that have no result yet, then write its report.

    The exit code is 1 if a planned cell has no result at the end, 2 if the study cannot run, 3 if --fail-if worse
    finds an arm that is decided to be worse than the reference, and 130 after Ctrl-C.
    """
    check_study(study, overrides, may_be_folder=False)
    try:
        from fusion_bench.api.request import RunRequest  # noqa: PLC0415 - imports torch
        from fusion_bench.cells.executors.on_ray.cluster import RayRequest  # noqa: PLC0415 - imports torch
        from fusion_bench.cli.run import run_and_say  # noqa: PLC0415 - imports torch
        from fusion_bench.training.paths import parse_named_paths  # noqa: PLC0415 - imports torch

        run_and_say(
            RunRequest(
                study=study,
                runs=runs,
                workers=workers,
                overrides=tuple(overrides or ()),
                data=parse_named_paths(data or []),
                device=device,
                retry_failed=retry_failed,
                retry_stale=retry_stale,
                keep_weights=keep_weights,
                smoke=smoke,
                per_device=per_device,
                executor=executor.value,
                ray=RayRequest(ray_address, ray_cpus, ray_gpus, ray_node_runs),
                slurm=tuple(slurm or ()),
                storage=storage,
                against=against,
            ),
            fail_if,
        )
    except KeyboardInterrupt as stopped:  # caught here, because typer would print no message
        training = f" while training {stopped}" if str(stopped) else ""
        typer.echo(f"stopped{training}; finished cells are kept, run the command again to continue", err=True)
        raise typer.Exit(130) from None


def work(
    study: StudyArgument,
    runs: Runs = Path("runs"),
    workers: Workers = None,
    per_device: PerDevice = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Begin no cell that would not end within so many minutes."),
    ] = None,
    overrides: Overrides = None,
    data: DataRoots = None,
    device: Device = None,
    keep_weights: KeepWeights = False,
) -> None:
    """Train cells of a study beside other processes that do the same in this runs folder, on this or other hosts.

    It ends when every cell is done or failed, or its time is over. The exit code is 1 if a cell has no result then,
    2 if the study cannot run, and 130 after Ctrl-C. `run` or `report` writes the report.
    """
    check_study(study, overrides, may_be_folder=False)
    try:
        from fusion_bench.api.request import RunRequest  # noqa: PLC0415 - imports torch
        from fusion_bench.cli.run import work_and_say  # noqa: PLC0415 - imports torch
        from fusion_bench.training.paths import parse_named_paths  # noqa: PLC0415 - imports torch

        work_and_say(
            RunRequest(
                study=study,
                runs=runs,
                workers=workers,
                overrides=tuple(overrides or ()),
                data=parse_named_paths(data or []),
                device=device,
                keep_weights=keep_weights,
                per_device=per_device,
            ),
            minutes,
        )
    except KeyboardInterrupt:
        typer.echo("stopped; finished cells are kept", err=True)
        raise typer.Exit(130) from None
