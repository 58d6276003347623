"""The time of a call and its peak memory, on the device where it runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Latency:
    """The time and memory of one call.

    Attributes:
        milliseconds: the median over the repeats.
        peak_memory: the largest number of bytes that one call allocated on the GPU in addition to those already
            allocated before it; None on a CPU, where torch does not count them.
    """

    milliseconds: float
    peak_memory: int | None


def latency(
    call: Callable[[], object], device: torch.device, *, warmup: int = 3, repeats: int = 20
) -> Latency:
    """Return the median time of ``repeats`` calls, after ``warmup`` calls that are not timed.

    On a GPU each timing includes the work itself, not only its launch: the device is synchronised first.

    Args:
        call: a function without arguments; its result is ignored.
        device: the device on which it runs.
        warmup: the number of calls before the first timing (they fill the allocator and caches and select kernels).
        repeats: the number of timed calls, at least one.
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
