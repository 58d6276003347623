"""How long a call takes and how much memory it needs, on the device where it runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Latency:
    """A measured call.

    Attributes:
        milliseconds: median over the repeats.
        peak_memory: most bytes allocated on the GPU during one call beyond what was there before; None on
            a CPU, where torch keeps no such count.
    """

    milliseconds: float
    peak_memory: int | None


def latency(
    call: Callable[[], object], device: torch.device, *, warmup: int = 3, repeats: int = 20
) -> Latency:
    """Time ``call`` alone: the median of ``repeats`` after ``warmup`` calls that are not timed.

    On a GPU each timing waits for the work to finish, not only for its launch.

    Args:
        call: takes nothing; its result is dropped.
        device: where it runs.
        warmup: calls before the first timing (allocator, kernel selection, caches).
        repeats: timed calls, at least one.
    """
    on_gpu = device.type == "cuda"
    for _ in range(warmup):
        call()
    before = 0
    if on_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        if on_gpu:
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated(device) - before if on_gpu else None
    return Latency(statistics.median(seconds) * 1000, peak)
