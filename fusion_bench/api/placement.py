"""The number of a run's workers and their places: devices of this host, or nodes of a cluster."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import torch

from fusion_bench.api.request import RAY, SLURM, RunRequest
from fusion_bench.api.study import run_paths
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.on_ray.cluster import Need, RayRequest, nodes, places_for
from fusion_bench.cells.executors.slurm.options import slurm_parameters, wants_gpu
from fusion_bench.errors import FusionBenchError
from fusion_bench.limits import Resources
from fusion_bench.spec.study import Study


@dataclass(frozen=True)
class Placed:
    """The settings of workers and what they need.

    Attributes:
        settings: see `WorkerSettings`.
        need: what each worker needs of a node of a Ray cluster; None on this host and on Slurm.
    """

    settings: WorkerSettings
    need: Need | None = None


def placed_workers(request: RunRequest, study: Study) -> Placed:
    """Return how workers are started for a request; on Ray, this process is connected to the cluster.

    Raises:
        FusionBenchError: there is no such device, or so many workers are not possible.
    """
    if request.executor == RAY:
        device = request.device or ("cpu" if request.smoke else None)
        need = ray_need(request.ray, study.resources, device, study.threads)
        workers = workers_on_ray(need, request.workers, request.per_device)
        return Placed(_settings(request, study, need.device, workers, math.ceil(need.cpus)), need)
    cores = os.cpu_count() or 1
    if request.executor == SLURM:
        check_device_name(request.device or "cpu")
        device = request.device or ("cuda" if wants_gpu(slurm_parameters(request.slurm, 1)) else "cpu")
        return Placed(_settings(request, study, device, request.workers or 1, cores))
    device = chosen_device(request.device, on_gpu=not request.smoke)
    workers = workers_here(device, request.workers, request.per_device, study.threads)
    return Placed(_settings(request, study, device, workers, cores, devices_of(device)))


def _settings(
    request: RunRequest, study: Study, device: str, workers: int, cores: int, devices: tuple[str, ...] = ()
) -> WorkerSettings:
    data_workers = 1 if request.smoke else max(1, cores)
    paths = run_paths(study, request.runs, request.data, device=device, data_workers=data_workers)
    return WorkerSettings(paths, workers, study.threads, request.keep_weights, study.limits, devices)


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


def chosen_device(asked: str | None, *, on_gpu: bool) -> str:
    """Return the device asked for; else a GPU if there is one and ``on_gpu``.

    Raises:
        FusionBenchError: there is no such device.
    """
    if asked is None:
        return "cuda" if torch.cuda.is_available() and on_gpu else "cpu"
    check_device_name(asked)
    kind, _, number = asked.partition(":")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise FusionBenchError(f"--device {asked}: torch finds {torch.cuda.device_count()} GPUs here")
    return asked


def check_device_name(name: str) -> None:
    """Do nothing for a name that torch may have for a device.

    Raises:
        FusionBenchError: it is not.
    """
    kind, _, number = name.partition(":")
    if name != "cpu" and (kind != "cuda" or not (number or "0").isdecimal()):
        raise FusionBenchError(f"--device {name}: write cpu, cuda or cuda:1")
