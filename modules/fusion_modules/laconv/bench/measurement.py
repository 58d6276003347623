"""Measurement of time and memory of a differentiable function: interleaved times, and the peak of resident memory.

The functions are timed in turn within each repeat, so that other load on the machine affects all of them equally. A
ratio is computed within each repeat; the ratios are summarised afterwards.
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
_LEAST_SECONDS = 0.02  # the shortest measurement; shorter functions are called several times


@dataclass(frozen=True)
class Spread:
    """The median and quartiles of repeats."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the median and quartiles of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, lower, upper)


def forward_backward(function: Function, inputs: Sequence[Tensor], grad: Tensor) -> None:
    """Run one forward pass and one backward pass to every input."""
    torch.autograd.grad(function(*inputs), inputs, grad)


def interleaved(steps: Mapping[str, Step], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each step in each repeat, after a warm-up; all steps are timed in turn in a repeat."""
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
    """Return the mean seconds of ``calls`` calls."""
    _wait(device)
    begin = time.perf_counter()
    for _ in range(calls):
        step()
    _wait(device)
    return (time.perf_counter() - begin) / calls


def _wait(device: torch.device) -> None:
    """Wait until the GPU has finished; return immediately for a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_on_gpu(step: Step, device: torch.device) -> int:
    """Return the peak memory of ``step`` in bytes, minus the memory allocated before it."""
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
    """Return the bytes by which forward and backward raise the peak of resident memory of a new process.

    The process first creates inputs of ``shapes`` and warms up on inputs of ``small``, so that libraries, threads and
    inputs are already resident. ``function`` must be importable by name.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_peak_increase, function, shapes, small, threads).result()


def _peak_increase(
    function: Function, shapes: Sequence[Sequence[int]], small: Sequence[Sequence[int]], threads: int
) -> int:
    """Return the result of `peak_on_cpu`, measured in this process."""
    torch.set_num_threads(threads)
    inputs = [torch.randn(*shape, requires_grad=True) for shape in shapes]
    grad = torch.randn(*shapes[0])
    warm_up = [torch.randn(*shape, requires_grad=True) for shape in small]
    forward_backward(function, warm_up, torch.ones_like(warm_up[0]))
    _reset_peak()
    before = _peak()
    forward_backward(function, inputs, grad)
    return _peak() - before


def _peak() -> int:
    """Return the peak of resident memory of this process in bytes; on Linux since `_reset_peak`."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource  # noqa: PLC0415 - only Unix has it

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _reset_peak() -> None:
    """Reset the peak of resident memory to the current value, on Linux."""
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
