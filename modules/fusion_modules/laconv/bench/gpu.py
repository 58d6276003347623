"""Measures the operator beside its rivals on a GPU: ``python -m fusion_modules.laconv.bench.gpu OUT [--toy]``.

It is a part of ``tools/gpu_check.sh`` and needs torch alone. With ``--toy`` the sizes are tiny and no goal is judged;
on a CPU the kernels for GPUs then run in Triton's interpreter (``TRITON_INTERPRET=1``) or not at all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from fusion_bench.bench.gpu.outcome import PartOutcome
from fusion_bench.bench.targets import Line
from fusion_bench.bench.timing import benchmark_device, machine_name
from fusion_bench.errors import FusionBenchError
from fusion_modules.laconv.bench.comparison import (
    FUSED_EXTENT,
    FUSED_SHAPE,
    GPU_SHAPES,
    BenchmarkRow,
    Shape,
    compare_fused,
    compare_on_gpu,
    copy_bandwidth,
)
from fusion_modules.laconv.bench.rivals import rivals_on_gpu
from fusion_modules.laconv.ops.operator import check_backend

_OURS = "triton"
_FORWARD_SHARE, _BACKWARD_SHARE, _TIMES_RIVAL, _TIMES_UNFUSED = 0.85, 0.6, 2.0, 2.0
_REPEATS = 9
_TOY_SHAPE = Shape(1, 4, 4, 3, 2)
_HEADINGS = (
    "x, kernels",
    "implementation",
    "forward ms",
    "share of copy bandwidth",
    "backward ms",
    "share of copy bandwidth",
    "both ms",
    "extra MiB",
)


@dataclass(frozen=True)
class OperatorRow:
    """A row of the table: what `compare_on_gpu` measured, and its shares of the bandwidth of a copy in this run.

    Attributes:
        row: the measurements.
        forward_share, backward_share: bytes that must be moved in the time, over those that a copy moves in it; None
            for projection and operator, which compute more than they move.
    """

    row: BenchmarkRow
    forward_share: float | None
    backward_share: float | None


def measure_operator_part(out: Path, device: torch.device, *, toy: bool) -> int:
    """Measure every implementation on every shape and return the exit code: 1 for a missed goal."""
    repeats, shapes = (1, (_TOY_SHAPE,)) if toy else (_REPEATS, GPU_SHAPES)
    bandwidth = copy_bandwidth(device, repeats)
    rivals, left_out = rivals_on_gpu()
    runs_triton = _runs_triton(device)
    rivals = [rival for rival in rivals if runs_triton or not rival.needs_triton]
    machine = f"{machine_name(device)}, torch {torch.__version__}. "
    machine += f"A copy reads and writes {bandwidth:.0f} GB/s. {left_out}"
    outcome = PartOutcome(out, "operator", machine, _HEADINGS)
    with torch.compiler.set_stance("force_eager") if toy and device.type == "cpu" else nullcontext():
        for number, shape in enumerate(shapes):
            rows = [
                _with_shares(row, shape, bandwidth) for row in compare_on_gpu(shape, rivals, device, repeats)
            ]
            for row in rows:
                outcome.add(_text(row), row)
            if not toy and number < len(shapes) - 1:  # the last has a window of 3, the smallest
                outcome.judge(operator_goals(rows))
    if runs_triton:
        fused_shape, extent = (_TOY_SHAPE, 16) if toy else (FUSED_SHAPE, FUSED_EXTENT)
        unfused, fused = compare_fused(fused_shape, extent, device, repeats)
        for one in (unfused, fused):
            row = OperatorRow(one, None, None)
            outcome.add(_text(row), row)
        if not toy:
            quantity = "speed relative to projection, then operator"
            speed = fused.times_faster.median
            outcome.judge(
                [Line(f"fused projection, {fused.shape}", quantity, _TIMES_UNFUSED, "higher", speed, "times")]
            )
    return outcome.end()


def _runs_triton(device: torch.device) -> bool:
    try:
        check_backend("triton", device)
    except ValueError:
        return False
    return True


def _with_shares(row: BenchmarkRow, shape: Shape, bandwidth: float) -> OperatorRow:
    assert row.forward is not None and row.backward is not None  # noqa: S101 - of `compare_on_gpu`
    forward = shape.least_forward_bytes / row.forward.median / 1e6
    backward = (shape.least_bytes - shape.least_forward_bytes) / row.backward.median / 1e6
    return OperatorRow(row, forward / bandwidth, backward / bandwidth)


def operator_goals(rows: Sequence[OperatorRow]) -> list[Line]:
    """Return the goals of one shape: shares of the copy bandwidth, and the speed relative to the best rival.

    Args:
        rows: the measurements of all implementations on the shape.
    """
    ours = next(row for row in rows if row.row.implementation == _OURS)
    others = [row.row.milliseconds.median for row in rows if row.row.implementation != _OURS]
    best = min(others, default=float("nan"))
    item = f"LaConv's operator, {ours.row.shape}"
    forward = ours.forward_share if ours.forward_share is not None else float("nan")
    backward = ours.backward_share if ours.backward_share is not None else float("nan")
    speed = best / ours.row.milliseconds.median
    return [
        Line(item, "forward, share of the bandwidth of a copy", _FORWARD_SHARE, "higher", forward, "of 1"),
        Line(item, "backward, share of the bandwidth of a copy", _BACKWARD_SHARE, "higher", backward, "of 1"),
        Line(item, "speed relative to the best other implementation", _TIMES_RIVAL, "higher", speed, "times"),
    ]


def _text(row: OperatorRow) -> tuple[str, ...]:
    one = row.row
    return (
        one.shape,
        one.implementation,
        "" if one.forward is None else f"{one.forward.median:.3f}",
        "" if row.forward_share is None else f"{row.forward_share:.0%}",
        "" if one.backward is None else f"{one.backward.median:.3f}",
        "" if row.backward_share is None else f"{row.backward_share:.0%}",
        f"{one.milliseconds.median:.3f}",
        "" if one.peak_bytes is None else f"{one.peak_bytes / 2**20:.0f}",
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure and return the exit code: 1 for a missed goal, 2 for a device that is not there."""
    parser = argparse.ArgumentParser(prog="python -m fusion_modules.laconv.bench.gpu", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args(arguments)
    try:
        return measure_operator_part(given.out, benchmark_device(given.device), toy=given.toy)
    except FusionBenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
