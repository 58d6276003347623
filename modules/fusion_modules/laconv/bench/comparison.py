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
    Step,
    forward_backward,
    interleaved,
    peak_on_cpu,
    peak_on_gpu,
)
from fusion_modules.laconv.bench.rivals import Rival, as_given, rivals_on_gpu
from fusion_modules.laconv.ops.fused import FusedBackend, fused_dynamic_conv2d
from fusion_modules.laconv.ops.operator import Backend, dynamic_conv2d

BASELINE = "unfold, multiply, sum"
UNFUSED, FUSED = "projection, then operator", "fused"


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

    @property
    def least_forward_bytes(self) -> int:
        """The number of bytes of these that the forward pass must move."""
        maps, kernels = (4 * torch.Size(shape).numel() for shape in self.inputs)
        return 2 * maps + kernels


SHAPES = (Shape(8, 128, 52, 7, 8), Shape(32, 128, 14, 7, 8), Shape(32, 64, 8, 3, 8))
GPU_SHAPES = (Shape(64, 128, 52, 7, 8), Shape(1024, 128, 14, 7, 8), Shape(8192, 64, 8, 3, 8))
"""The same maps in batches that are far larger than the caches of a GPU, and take longer than their launch."""
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
    forward: Spread | None = None  # ms of the forward pass alone, on a GPU
    backward: Spread | None = None  # ms of the rest, in the same repeats


@dataclass(frozen=True)
class BenchmarkResult:
    """The measurements of a whole run."""

    machine: str
    threads: int
    repeats: int
    versions: str
    rows: tuple[BenchmarkRow, ...]
    copy_bandwidth: float | None  # GB/s read and written by a copy in the same run, on a GPU
    left_out: str = ""  # which rivals are left out, and why


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
    """Return our implementations that can run on ``device``, by name; the baseline is the first."""
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
        on_gpu, left_out = device.type == "cuda", ""
        for index, shape in enumerate(shapes):
            if on_gpu:
                rivals, left_out = rivals_on_gpu()
                rows += compare_on_gpu(shape, rivals, device, repeats)
            else:
                rows += _compare(
                    shape, implementations(device), threads, repeats, memory=memory and index == 0
                )
        if on_gpu:
            rows += compare_fused(FUSED_SHAPE, FUSED_EXTENT, device, repeats)
        bandwidth = copy_bandwidth(device, repeats) if on_gpu else None
    finally:
        torch.set_num_threads(before)
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    if importlib.util.find_spec("triton") is not None:
        versions += f", triton {importlib.metadata.version('triton')}"
    return BenchmarkResult(machine_name(device), threads, repeats, versions, tuple(rows), bandwidth, left_out)


def _compare(
    shape: Shape,
    functions: Mapping[str, Function],
    threads: int,
    repeats: int,
    *,
    memory: bool,
) -> list[BenchmarkRow]:
    """Return the measurements of every implementation on one shape, on a CPU."""
    device = torch.device("cpu")
    inputs = [torch.randn(extent).requires_grad_() for extent in shape.inputs]
    grad = torch.randn(shape.inputs[0])
    steps = {
        name: functools.partial(forward_backward, function, inputs, grad)
        for name, function in functions.items()
    }
    rows = _rows(str(shape), interleaved(steps, repeats, device))
    if memory and importlib.util.find_spec("resource") is not None:
        small = Shape(1, shape.groups, 4, shape.size, shape.groups).inputs
        rows = [
            replace(row, peak_bytes=peak_on_cpu(functions[row.implementation], shape.inputs, small, threads))
            for row in rows
        ]
    return rows


def compare_on_gpu(
    shape: Shape, rivals: Sequence[Rival], device: torch.device, repeats: int
) -> list[BenchmarkRow]:
    """Return the measurements of our implementations and of rivals on one shape, forward and backward."""
    ours = [Rival(name, function, as_given) for name, function in implementations(device).items()]
    x, kernels = (torch.randn(extent, device=device) for extent in shape.inputs)
    forwards: dict[str, Step] = {}
    steps: dict[str, Step] = {}
    for rival in (*ours, *rivals):
        inputs = [value.requires_grad_() for value in rival.layout(x, kernels)]
        grad = torch.randn_like(inputs[0])
        forwards[rival.name] = functools.partial(rival.function, *inputs)
        steps[rival.name] = functools.partial(forward_backward, rival.function, inputs, grad)
    both = {**{f"{name} forward": step for name, step in forwards.items()}, **steps}
    seconds = interleaved(both, repeats, device)
    rows = []
    for row in _rows(str(shape), {name: seconds[name] for name in steps}):
        name = row.implementation
        forward = [1e3 * value for value in seconds[f"{name} forward"]]
        rest = [1e3 * value - first for value, first in zip(seconds[name], forward, strict=True)]
        rows.append(
            replace(
                row,
                peak_bytes=peak_of_step(steps[name], device),
                bandwidth=shape.least_bytes / row.milliseconds.median / 1e6,  # GB/s
                forward=Spread.of(forward),
                backward=Spread.of(rest),
            )
        )
    return rows


def peak_of_step(step: Step, device: torch.device) -> int | None:
    """Return `peak_on_gpu`; None on a CPU."""
    return peak_on_gpu(step, device) if device.type == "cuda" else None


def compare_fused(shape: Shape, extent: int, device: torch.device, repeats: int) -> list[BenchmarkRow]:
    """Return the measurements of projection and operator in bfloat16, as two steps and fused.

    In Triton's interpreter, which has no matrix product of bfloat16, it is float16.
    """
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float16
    maps = shape.inputs[0]
    weight_rows = shape.groups * shape.size**2
    sizes = (maps, (shape.batch, extent, *maps[2:]), (weight_rows, extent), (weight_rows,))
    inputs = [torch.randn(size, device=device, dtype=dtype).requires_grad_() for size in sizes]
    grad = torch.randn(maps, device=device, dtype=dtype)
    variants: dict[str, FusedBackend] = {UNFUSED: "triton", FUSED: "fused"}
    steps = {
        name: functools.partial(
            forward_backward,
            functools.partial(fused_dynamic_conv2d, groups=shape.groups, backend=backend),
            inputs,
            grad,
        )
        for name, backend in variants.items()
    }
    name = str(dtype).removeprefix("torch.")
    rows = _rows(f"{shape} E {extent}, {name}", interleaved(steps, repeats, device))
    return [
        replace(row, peak_bytes=peak_of_step(step, device))
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


def copy_bandwidth(device: torch.device, repeats: int) -> float:
    """Return the GB/s read and written by a copy of 1 GiB, on a CPU of 1 MiB."""
    source = torch.zeros(1 << (30 if device.type == "cuda" else 20), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = interleaved({"copy": lambda: target.copy_(source)}, repeats, device)["copy"]
    return 2 * source.numel() / Spread.of(seconds).median / 1e9
