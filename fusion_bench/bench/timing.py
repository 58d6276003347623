"""Times of steps that run in turn, so that other load on the machine meets all of them, and the machine's own rates.

On a CPU a time is that of the calling thread alone: waiting for a core does not count. On a GPU it is wall-clock
time until the GPU has finished.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from fusion_bench.errors import FusionBenchError

_SIDE = 1024  # of the square matrices whose product gives the rate of multiply-adds


def seconds_now(device: torch.device) -> float:
    """Return the seconds of this thread on a CPU; on a GPU the clock, after all queued work is finished."""
    if device.type == "cpu":
        return time.thread_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def in_turn(
    works: Mapping[str, Callable[[], float]], repeats: int, *, warm_up: int = 1
) -> dict[str, list[float]]:
    """Return the values that each work returns, one per repeat, without those of the warm-up."""
    values: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(warm_up + repeats):
        for name, work in works.items():
            value = work()
            if repeat >= warm_up:
                values[name].append(value)
    return values


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return the median of the ratios within each repeat."""
    return statistics.median(one / other for one, other in zip(numerators, denominators, strict=True))


def multiply_add_seconds(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Return the seconds of one multiply-add in a product of two square matrices, measured now."""
    one, other = (torch.ones(_SIDE, _SIDE, device=device, dtype=dtype) for _ in range(2))
    products = 3 if device.type == "cpu" else 100
    _ = one @ other
    began = seconds_now(device)
    for _ in range(products):
        _ = one @ other
    return (seconds_now(device) - began) / (products * _SIDE**3)


def benchmark_device(name: str | None) -> torch.device:
    """Return the device of this name; without one, a GPU if there is one, else the CPU.

    Raises:
        FusionBenchError: it is neither ``cpu`` nor a GPU of this machine.
    """
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if chosen != "cpu" and not (chosen.startswith("cuda") and torch.cuda.is_available()):
        raise FusionBenchError(
            f"--device {chosen}: the benchmark runs on cpu, and on cuda where there is a GPU"
        )
    return torch.device(chosen)


def machine_name(device: torch.device) -> str:
    """Return the name of the GPU, or the model and number of cores of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text(encoding="utf-8").splitlines() if cpu_info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"
