"""Checks of the operator's kernels on this machine: ``python -m fusion_modules.laconv.bench.agreement [--device D]``.

Each backend that runs on the device is compared, forward and backward, with the reference in float64. The tests of
the project do more; this program needs torch alone.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_bench.bench.timing import benchmark_device
from fusion_bench.errors import FusionBenchError
from fusion_modules.laconv.ops.fused import FusedBackend, fused_dynamic_conv2d
from fusion_modules.laconv.ops.operator import Backend, check_backend, dynamic_conv2d


@dataclass(frozen=True)
class AgreementCase:
    """The sizes of one comparison: ``x`` ``[2, channels, height, width]`` and the window."""

    size: int
    height: int
    width: int
    stride: int = 1
    dilation: int = 1
    channels: int = 6
    groups: int = 3
    channels_last: bool = False

    @property
    def outputs(self) -> tuple[int, int]:
        """The height and width of the result."""
        return (self.height - 1) // self.stride + 1, (self.width - 1) // self.stride + 1


CASES = (
    AgreementCase(3, 4, 5),
    AgreementCase(3, 5, 4, stride=2, groups=2, channels_last=True),
    AgreementCase(5, 3, 6, dilation=2, channels=4, groups=4, channels_last=True),
    AgreementCase(3, 5, 6, stride=3, dilation=2, channels=3, groups=1),
    AgreementCase(1, 12, 13, channels=20, groups=1),
)
LARGE_CASES = (
    AgreementCase(7, 26, 26, channels=32, groups=8),
    AgreementCase(7, 14, 14, channels=64, groups=8, channels_last=True),
)
"""These are for a GPU; Triton's interpreter would take minutes for them."""
_TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4, torch.bfloat16: 4e-2, torch.float16: 5e-3}
_EXTENT = 16  # channels of the condition of the fused operator


@dataclass(frozen=True)
class BackendDifference:
    """The largest difference of one backend from the reference, relative to the largest value of each tensor.

    Attributes:
        backend: the backend; ``case``: the sizes; ``dtype``: the type, as text.
        found: the difference; ``allowed``: the largest one that rounding explains.
    """

    backend: str
    case: str
    dtype: str
    found: float
    allowed: float

    @property
    def agrees(self) -> bool:
        """True if rounding explains the difference; False for NaN."""
        return self.found <= self.allowed


def differences(device: torch.device, cases: Sequence[AgreementCase]) -> Iterator[BackendDifference]:
    """Yield the difference of each backend, case and type that the device supports."""
    backends: list[Backend] = ["torch", "triton"]
    for backend in backends:
        if not _runs(backend, device):
            continue
        for case in cases:
            small = case not in LARGE_CASES
            for dtype in (*((torch.float64,) if small else ()), torch.float32, torch.bfloat16):
                yield _operator_difference(case, backend, dtype, device)
    if _runs("triton", device):
        for case in cases:
            # Triton's interpreter cannot multiply matrices of bfloat16.
            for dtype in (torch.float32, torch.bfloat16 if device.type == "cuda" else torch.float16):
                yield _fused_difference(case, dtype, device)


def _runs(backend: str, device: torch.device) -> bool:
    try:
        check_backend(backend, device)
    except ValueError:
        return False
    return True


def _operator_difference(
    case: AgreementCase, backend: Backend, dtype: torch.dtype, device: torch.device
) -> BackendDifference:
    sizes = ((2, case.channels, case.height, case.width), (2, case.groups, case.size**2, *case.outputs))
    call = functools.partial(dynamic_conv2d, stride=case.stride, dilation=case.dilation)
    found = _largest(
        functools.partial(call, backend=backend),
        functools.partial(call, backend="reference"),
        sizes,
        case,
        dtype,
        device,
    )
    return BackendDifference(backend, str(case), str(dtype), found, _TOLERANCE[dtype])


def _fused_difference(case: AgreementCase, dtype: torch.dtype, device: torch.device) -> BackendDifference:
    rows = case.groups * case.size**2
    maps = (case.height, case.width)
    sizes = ((2, case.channels, *maps), (2, _EXTENT, *maps), (rows, _EXTENT), (rows,))
    call = functools.partial(
        fused_dynamic_conv2d, groups=case.groups, stride=case.stride, dilation=case.dilation
    )
    backend: FusedBackend = "fused"
    found = _largest(
        functools.partial(call, backend=backend),
        functools.partial(call, backend="reference"),
        sizes,
        case,
        dtype,
        device,
    )
    # Products of float32 run in TF32 on the matrix units, with 10 bits of mantissa.
    allowed = {torch.float32: 5e-3, torch.bfloat16: 8e-2, torch.float16: 1e-2}[dtype]
    return BackendDifference(backend, str(case), str(dtype), found, allowed)


def _largest(
    function: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    sizes: tuple[tuple[int, ...], ...],
    case: AgreementCase,
    dtype: torch.dtype,
    device: torch.device,
) -> float:
    """Return the largest relative difference of results and gradients."""
    generator = torch.Generator().manual_seed(case.size * case.height)
    values = [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]
    given = [value.to(device, dtype) for value in values]
    if case.channels_last:
        given[0] = given[0].contiguous(memory_format=torch.channels_last)
    wide = [value.double().requires_grad_() for value in given]
    given = [value.requires_grad_() for value in given]
    out, expected = function(*given), reference(*wide)
    cotangent = torch.randn(expected.shape, generator=generator, dtype=torch.float64).to(device, dtype)
    pairs = [
        (out.detach(), expected.detach()),
        *zip(
            torch.autograd.grad(out, given, cotangent),
            torch.autograd.grad(expected, wide, cotangent.double()),
            strict=True,
        ),
    ]
    return max(float((one.double() - other).abs().max() / other.abs().max()) for one, other in pairs)


def main(arguments: list[str] | None = None) -> int:
    """Print every difference and return the exit code: 1 if a backend does not agree, 2 for no such device."""
    parser = argparse.ArgumentParser(
        prog="python -m fusion_modules.laconv.bench.agreement", description=__doc__
    )
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args(arguments)
    try:
        device = benchmark_device(given.device)
    except FusionBenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    wrong = 0
    # Triton compiles every case anew, for which a GPU has a minute in `tools/gpu_check.sh`.
    for one in differences(device, CASES[1:3] + LARGE_CASES if device.type == "cuda" else CASES[1:2]):
        wrong += not one.agrees
        said = "agrees" if one.agrees else "DIFFERS"
        sys.stdout.write(
            f"{said}: {one.backend}, {one.dtype}, {one.case}: {one.found:.1e} of {one.allowed:.0e}\n"
        )
        sys.stdout.flush()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
