"""Measures the launch parameters of the GPU kernels: ``python -m fusion_modules.laconv.bench.search_launches``.

It prints a row of the table in `fusion_modules.laconv.ops.launches` for each kernel and shape. ``--shape`` names
other shapes than those of the benchmark.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

import torch

from fusion_bench.bench.timing import benchmark_device
from fusion_bench.errors import FusionBenchError
from fusion_modules.laconv.bench.comparison import FUSED_EXTENT, FUSED_SHAPE, GPU_SHAPES, Shape
from fusion_modules.laconv.bench.measurement import Spread, Step, interleaved
from fusion_modules.laconv.ops.launches import (
    KernelName,
    LaunchChoice,
    LaunchParameters,
    LaunchShape,
    candidates_for,
    chosen_launch,
)
from fusion_modules.laconv.ops.window import Window

Launcher = Callable[[LaunchChoice], None]


def searched(
    shape: Shape, dtype: torch.dtype, extent: int, device: torch.device, repeats: int
) -> Iterator[tuple[LaunchShape, LaunchParameters]]:
    """Yield each kernel's shape with the parameters that took the least time.

    Args:
        shape: the sizes of map and kernels.
        dtype: the type of all values.
        extent: channels of the condition, for the fused kernels; 0 for the others.
        device: a GPU.
        repeats: measurements of each candidate, taken in turn.
    """
    launchers = _fused_launchers(shape, dtype, extent, device) if extent else _launchers(shape, dtype, device)
    for kernel in get_args(KernelName):
        if kernel.startswith("fused") != bool(extent):
            continue
        launch = launchers[not kernel.endswith("aggregate")]
        found = _shape_of(kernel, launch)
        steps: dict[str, Step] = {
            str(number): functools.partial(launch, functools.partial(_forced, kernel, candidate))
            for number, candidate in enumerate(candidates_for(found))
        }
        seconds = interleaved(steps, repeats, device)
        best = min(seconds, key=lambda name: Spread.of(seconds[name]).median)
        yield found, candidates_for(found)[int(best)]


def _forced(kernel: KernelName, candidate: LaunchParameters, shape: LaunchShape) -> LaunchParameters:
    """Return ``candidate`` for one kernel, and the usual parameters for the others of the same launch."""
    return candidate if shape.kernel == kernel else chosen_launch(shape)


def _shape_of(kernel: KernelName, launch: Launcher) -> LaunchShape:
    """Return the shape with which a launch asks for the parameters of a kernel."""
    asked: list[LaunchShape] = []

    def note(shape: LaunchShape) -> LaunchParameters:
        asked.append(shape)
        return chosen_launch(shape)

    launch(note)
    return next(shape for shape in asked if shape.kernel == kernel)


def _launchers(shape: Shape, dtype: torch.dtype, device: torch.device) -> tuple[Launcher, Launcher]:
    """Return what launches the forward kernel and the two backward kernels."""
    from fusion_modules.laconv.ops import triton_kernels  # noqa: PLC0415 - Triton may be missing

    x, kernels = (torch.randn(size, device=device, dtype=dtype) for size in shape.inputs)
    window, grads = Window.of(kernels, 1, 1), (torch.empty_like(x), torch.empty_like(kernels))
    out = torch.empty_like(x)
    return (
        lambda choice: triton_kernels.launch_aggregate(x, kernels, window, out, choice),
        lambda choice: triton_kernels.launch_gradients(out, x, kernels, window, *grads, choice),
    )


def _fused_launchers(
    shape: Shape, dtype: torch.dtype, extent: int, device: torch.device
) -> tuple[Launcher, Launcher]:
    """Return what launches the fused forward kernel and the two fused backward kernels."""
    from fusion_modules.laconv.ops import triton_fused, triton_fused_gradients  # noqa: PLC0415

    maps, kernels = shape.inputs
    rows = shape.groups * shape.size**2
    sizes = (maps, (shape.batch, extent, *maps[2:]), (rows, extent), (rows,))
    inputs = tuple(torch.randn(size, device=device, dtype=dtype) for size in sizes)
    window = Window.of(torch.empty(kernels, device="meta"), 1, 1)
    out, targets = torch.zeros_like(inputs[0]), tuple(torch.empty_like(value) for value in inputs)
    x, condition, weight, bias = inputs
    first, second, third, fourth = targets
    return (
        lambda choice: triton_fused.launch_fused_aggregate(x, condition, weight, bias, window, out, choice),
        lambda choice: triton_fused_gradients.launch_fused_gradients(
            out, x, condition, weight, bias, window, (first, second, third, fourth), choice
        ),
    )


def _parse_shape(text: str) -> Shape:
    numbers = [int(part) for part in text.split(",")]
    if len(numbers) != 5 or min(numbers) < 1:
        raise ValueError(text)
    return Shape(*numbers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each kernel and shape, and return the exit code: 2 for a device that is not there."""
    parser = argparse.ArgumentParser(
        prog="python -m fusion_modules.laconv.bench.search_launches", description=__doc__
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument(
        "--shape", type=_parse_shape, action="append", metavar="B,C,SIDE,SIZE,GROUPS", help="may be repeated"
    )
    given = parser.parse_args(arguments)
    try:
        device = benchmark_device(given.device)
    except FusionBenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    half = torch.bfloat16 if device.type == "cuda" else torch.float16
    plain = given.shape or GPU_SHAPES
    works = [(shape, dtype, 0) for shape in plain for dtype in (torch.float32, half)]
    works += [(shape, half, FUSED_EXTENT) for shape in given.shape or (FUSED_SHAPE,)]
    for shape, dtype, extent in works:
        for found, best in searched(shape, dtype, extent, device, given.repeats):
            sys.stdout.write(f"    {found}: {best},\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
