"""The lines of ``fusion-bench bench all`` about the position-wise convolution on a CPU."""

from __future__ import annotations

import torch

from fusion_bench.bench.targets import Line
from fusion_modules.laconv.bench.comparison import BASELINE, SHAPES, measure

_LARGE, _, _SMALL = SHAPES
_TIMES_FASTER = {str(_LARGE): 20.0, str(_SMALL): 4.0}


def operator_lines(quick: bool) -> list[Line]:
    """Return how many times faster than unfold, multiply, sum the operator is, forward and backward.

    Args:
        quick: measure fewer times, and leave out the larger shape, on which unfold takes seconds.
    """
    shapes = (_SMALL,) if quick else (_LARGE, _SMALL)
    result = measure(shapes, torch.device("cpu"), threads=1, repeats=3 if quick else 7, memory=False)
    return [
        Line(
            f"LaConv's operator, {row.shape}",
            f"speed relative to {BASELINE}",
            _TIMES_FASTER[row.shape],
            "higher",
            row.times_faster.median,
            "times",
        )
        for row in result.rows
        if row.implementation == "torch"
    ]
