"""Where the workers of a run work: on which devices of this host, or on the nodes of a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fusion_bench.cells.executors.executor import Executor, WorkerSettings
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.executors.on_ray.cluster import Need, RayRequest, connected, nodes, places_for
from fusion_bench.errors import FusionBenchError
from fusion_bench.limits import Resources

LOCAL, RAY = "local", "ray"


@contextmanager
def cluster_of(executor: str, asked: RayRequest) -> Iterator[None]:
    """Connect to the cluster of an executor, if it has one, while the block runs.

    Raises:
        FusionBenchError: there is no such executor, or its cluster cannot be reached.
    """
    if executor not in {LOCAL, RAY}:
        raise FusionBenchError(f"--executor {executor}: write {LOCAL} or {RAY}")
    if executor == LOCAL:
        yield
        return
    with connected(asked.address):
        yield


def devices_of(device: str) -> tuple[str, ...]:
    """Return the devices that workers share: every GPU of this host for ``cuda``, else the one that is named."""
    count = torch.cuda.device_count() if device == "cuda" else 1
    return tuple(f"cuda:{number}" for number in range(count)) if count > 1 else (device,)


def workers_here(device: str, workers: int | None, per_device: int | None, threads: int) -> int:
    """Return how many workers this host gets: by default cores / threads on a CPU, one for each GPU.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        workers: how many are asked for in all.
        per_device: how many are asked for on each GPU.
        threads: of each.

    Raises:
        FusionBenchError: a number is below 1, or the two contradict each other or the device.
    """
    for name, number in (("workers", workers), ("per_device", per_device)):
        if number is not None and number < 1:
            raise FusionBenchError(f"{name} is {number}: write 1 or more, or leave it out")
    if per_device is not None and not device.startswith("cuda"):
        raise FusionBenchError(
            f"--per-device {per_device} counts the workers of each GPU, and cells are trained on the CPU: write "
            "--workers, or --device cuda"
        )
    if per_device is not None and workers is not None:
        raise FusionBenchError(
            f"--workers {workers} and --per-device {per_device} both say how many workers there are: leave one out"
        )
    if device.startswith("cuda"):
        return workers or (per_device or 1) * len(devices_of(device))
    return workers or max(1, (os.cpu_count() or 1) // threads)


def ray_need(asked: RayRequest, resources: Resources, device: str | None, threads: int) -> Need:
    """Return what a worker needs of a node: the command line counts, then the study, then a default.

    Raises:
        FusionBenchError: the device and the GPUs contradict each other.
    """
    cpus = asked.cpus if asked.cpus is not None else resources.cpus
    gpus = asked.gpus if asked.gpus is not None else resources.gpus
    if device is not None and device not in {"cpu", "cuda"}:
        raise FusionBenchError(f"--device {device}: Ray gives each worker its GPU; write cpu or cuda")
    if device == "cuda" and gpus == 0:
        raise FusionBenchError(
            "--device cuda and 0 GPUs for each worker: write --ray-gpus 1, or a part of one"
        )
    if gpus is None:
        has_gpus = device == "cuda" or (device is None and any(node.gpus for node in nodes()))
        gpus = 1.0 if has_gpus else 0.0
    return Need(float(threads) if cpus is None else cpus, 0.0 if device == "cpu" else gpus)


def workers_on_ray(need: Need, workers: int | None, per_device: int | None) -> int:
    """Return how many workers a cluster gets: as many as are asked for, else as many as it has place for.

    Raises:
        FusionBenchError: it has no place for them, now or later.
    """
    if per_device is not None:
        part = f"{1 / max(per_device, 1):.3g}"
        raise FusionBenchError(
            f"--per-device {per_device} is for workers of this host; write --ray-gpus {part}"
        )
    return places_for(need, workers, nodes())


def make_executor(settings: WorkerSettings, logs: Path, need: Need | None, asked: RayRequest) -> Executor:
    """Return what trains cells: workers on this host, or on Ray where each worker needs something of a node."""
    if need is None:
        return LocalExecutor(settings, logs)
    from fusion_bench.cells.executors.on_ray.executor import RayExecutor  # noqa: PLC0415 - imports ray

    return RayExecutor(settings, logs, need, asked.node_runs)
