"""The comparison of the position-wise convolution with the form that public implementations use."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_bench.bench.timing import machine_name
from fusion_modules.laconv.bench.measurement import (
    Function,
    Spread,
    forward_backward,
    interleaved,
    peak_on_cpu,
    peak_on_gpu,
)
from fusion_modules.laconv.ops.fused import FusedBackend, fused_dynamic_conv2d
from fusion_modules.laconv.ops.operator import Backend, dynamic_conv2d

BASELINE = "unfold, multiply, sum"


@dataclass(frozen=True)
class Shape:
    """``x`` ``[batch, channels, side, side]`` with kernels ``[batch, groups, size^2, side, side]``."""

    batch: int
    channels: int
    side: int
    size: int
    groups: int

    def __str__(self) -> str:
        return f"[{self.batch},{self.channels},{self.side},{self.side}] k {self.size} G {self.groups}"

    @property
    def inputs(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of ``x`` and of the kernels."""
        plane = (self.side, self.side)
        return (self.batch, self.channels, *plane), (self.batch, self.groups, self.size**2, *plane)

    @property
    def least_bytes(self) -> int:
        """The number of bytes that forward and backward must move in float32 if nothing is moved twice.

        Forward reads map and kernels and writes a map. Backward reads both and a gradient and writes both gradients.
        """
        maps, kernels = (4 * torch.Size(shape).numel() for shape in self.inputs)
        return 5 * maps + 3 * kernels


SHAPES = (Shape(8, 128, 52, 7, 8), Shape(32, 128, 14, 7, 8), Shape(32, 64, 8, 3, 8))
FUSED_SHAPE, FUSED_EXTENT = Shape(32, 256, 26, 7, 8), 256


@dataclass(frozen=True)
class BenchmarkRow:
    """The measurements of one implementation on one shape."""

    shape: str
    implementation: str
    milliseconds: Spread
    times_faster: Spread  # relative to the first implementation of its shape, within each repeat
    peak_bytes: int | None = None
    bandwidth: float | None = None  # GB/s of the bytes that must be moved, on a GPU


@dataclass(frozen=True)
class BenchmarkResult:
    """The measurements of a whole run."""

    machine: str
    threads: int
    repeats: int
    versions: str
    rows: tuple[BenchmarkRow, ...]
    copy_bandwidth: float | None  # GB/s read and written by a copy in the same run, on a GPU


def unfold_multiply_sum(x: Tensor, kernels: Tensor) -> Tensor:
    """Return the result in the form of public implementations, for stride 1: copy every window, multiply, sum."""
    batch, channels, height, width = x.shape
    groups, taps = kernels.shape[1:3]
    size = int(taps**0.5)
    windows = F.unfold(x, size, padding=size // 2).view(
        batch, channels // groups, groups, taps, height, width
    )
    return (windows * kernels[:, None]).sum(dim=3).view(batch, channels, height, width)


def implementations(device: torch.device) -> dict[str, Function]:
    """Return the implementations that can run on ``device``, by name; the baseline is the first."""
    backends: tuple[Backend, ...] = ("reference", "torch")
    if device.type == "cuda":
        backends += ("triton",)
    backend_functions: dict[str, Function] = {
        name: functools.partial(dynamic_conv2d, backend=name) for name in backends
    }
    return {BASELINE: unfold_multiply_sum, **backend_functions}


def measure(
    shapes: Sequence[Shape], device: torch.device, threads: int, repeats: int, *, memory: bool = True
) -> BenchmarkResult:
    """Time every implementation on every shape; with ``memory``, also measure the memory for the first shape."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows: list[BenchmarkRow] = []
        for index, shape in enumerate(shapes):
            rows += _compare(
                shape, implementations(device), device, threads, repeats, memory=memory and index == 0
            )
        on_gpu = device.type == "cuda"
        if on_gpu:
            rows += _compare_fused(device, repeats)
        copy_bandwidth = _copy_bandwidth(device, repeats) if on_gpu else None
    finally:
        torch.set_num_threads(before)
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    if importlib.util.find_spec("triton") is not None:
        versions += f", triton {importlib.metadata.version('triton')}"
    return BenchmarkResult(machine_name(device), threads, repeats, versions, tuple(rows), copy_bandwidth)


def _compare(
    shape: Shape,
    functions: Mapping[str, Function],
    device: torch.device,
    threads: int,
    repeats: int,
    *,
    memory: bool,
) -> list[BenchmarkRow]:
    """Return the measurements of every implementation on one shape."""
    inputs = [torch.randn(extent, device=device).requires_grad_() for extent in shape.inputs]
    grad = torch.randn(shape.inputs[0], device=device)
    steps = {
        name: functools.partial(forward_backward, function, inputs, grad)
        for name, function in functions.items()
    }
    rows = _rows(str(shape), interleaved(steps, repeats, device))
    if device.type == "cuda":
        peaks = [peak_on_gpu(step, device) for step in steps.values()]
        rates = [shape.least_bytes / row.milliseconds.median / 1e6 for row in rows]  # GB/s
        rows = [
            replace(row, peak_bytes=peak, bandwidth=rate)
            for row, peak, rate in zip(rows, peaks, rates, strict=True)
        ]
    elif memory and importlib.util.find_spec("resource") is not None:
        small = Shape(1, shape.groups, 4, shape.size, shape.groups).inputs
        rows = [
            replace(row, peak_bytes=peak_on_cpu(functions[row.implementation], shape.inputs, small, threads))
            for row in rows
        ]
    return rows


def _compare_fused(device: torch.device, repeats: int) -> list[BenchmarkRow]:
    """Return the measurements of projection and operator in bfloat16, as two steps and fused."""
    shape, extent = FUSED_SHAPE, FUSED_EXTENT
    maps = shape.inputs[0]
    weight_rows = shape.groups * shape.size**2
    sizes = (maps, (shape.batch, extent, *maps[2:]), (weight_rows, extent), (weight_rows,))
    inputs = [torch.randn(size, device=device, dtype=torch.bfloat16).requires_grad_() for size in sizes]
    grad = torch.randn(maps, device=device, dtype=torch.bfloat16)
    variants: dict[str, FusedBackend] = {"projection, then operator": "triton", "fused": "fused"}
    steps = {
        name: functools.partial(
            forward_backward,
            functools.partial(fused_dynamic_conv2d, groups=shape.groups, backend=backend),
            inputs,
            grad,
        )
        for name, backend in variants.items()
    }
    rows = _rows(f"{shape} E {extent}, bfloat16", interleaved(steps, repeats, device))
    return [
        replace(row, peak_bytes=peak_on_gpu(step, device))
        for row, step in zip(rows, steps.values(), strict=True)
    ]


def _rows(shape: str, seconds: Mapping[str, Sequence[float]]) -> list[BenchmarkRow]:
    """Return one row per implementation, with ratios to the first."""
    baseline = next(iter(seconds.values()))
    return [
        BenchmarkRow(
            shape,
            name,
            Spread.of([1e3 * value for value in values]),
            Spread.of([reference / value for reference, value in zip(baseline, values, strict=True)]),
        )
        for name, values in seconds.items()
    ]


def _copy_bandwidth(device: torch.device, repeats: int) -> float:
    """Return the GB/s read and written by a copy of 256 MiB."""
    source = torch.empty(1 << 28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = interleaved({"copy": lambda: target.copy_(source)}, repeats, device)["copy"]
    return 2 * source.numel() / Spread.of(seconds).median / 1e9
