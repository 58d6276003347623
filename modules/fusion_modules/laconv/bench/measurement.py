"""How long and how much memory a differentiable function takes: interleaved times, and the high-water mark.

Times of several functions are taken in turn, repeat after repeat, so that whatever else the machine does meets all of
them; a ratio is formed within each repeat and only then summarised.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

Function = Callable[..., Tensor]
Step = Callable[[], object]

_STATUS = Path("/proc/self/status")
_LEAST_SECONDS = 0.02  # of one reading; shorter functions are called several times


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeats."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, lower, upper)


def forward_backward(function: Function, inputs: Sequence[Tensor], grad: Tensor) -> None:
    """One pass forward and one backward, to every input."""
    torch.autograd.grad(function(*inputs), inputs, grad)


def interleaved(steps: Mapping[str, Step], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each step in each repeat, after a warm-up; all steps take turns within a repeat."""
    calls = {}
    for name, step in steps.items():
        step()
        calls[name] = max(1, round(_LEAST_SECONDS / max(_seconds(step, 1, device), 1e-6)))
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            seconds[name].append(_seconds(step, calls[name], device))
    return seconds


def _seconds(step: Step, calls: int, device: torch.device) -> float:
    _wait(device)
    begin = time.perf_counter()
    for _ in range(calls):
        step()
    _wait(device)
    return (time.perf_counter() - begin) / calls


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_on_gpu(step: Step, device: torch.device) -> int:
    """Bytes that ``step`` needs at its peak beyond what is allocated before it."""
    step()
    _wait(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    _wait(device)
    return torch.cuda.max_memory_allocated(device) - before


def peak_on_cpu(
    function: Function, shapes: Sequence[Sequence[int]], small: Sequence[Sequence[int]], threads: int
) -> int:
    """Bytes by which forward and backward raise the high-water mark of resident memory of a fresh process.

    The process first makes inputs of ``shapes`` and warms up on inputs of ``small``, so that libraries, threads and
    inputs are resident before. ``function`` must be importable by name.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_raised_by, function, shapes, small, threads).result()


def _raised_by(
    function: Function, shapes: Sequence[Sequence[int]], small: Sequence[Sequence[int]], threads: int
) -> int:
    torch.set_num_threads(threads)
    inputs = [torch.randn(*shape, requires_grad=True) for shape in shapes]
    grad = torch.randn(*shapes[0])
    warm = [torch.randn(*shape, requires_grad=True) for shape in small]
    forward_backward(function, warm, torch.ones_like(warm[0]))
    _forget_high_water()
    before = _high_water()
    forward_backward(function, inputs, grad)
    return _high_water() - before


def _high_water() -> int:
    """Bytes of this process that were ever resident at once; on Linux since `_forget_high_water`."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource  # noqa: PLC0415 - only Unix has it

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _forget_high_water() -> None:
    """Let Linux's high-water mark begin anew at what is resident now."""
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
