"""Launch parameters of the GPU kernels: a table by kernel and shape, and those of every other shape.

``python -m fusion_modules.laconv.bench.search_launches`` measures every candidate on a GPU and prints rows of the
table. The parameters decide how fast a kernel is, never what it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

KernelName = Literal[
    "aggregate",
    "gradient_of_map",
    "gradient_of_kernels",
    "fused_aggregate",
    "fused_gradient_of_map",
    "fused_other_gradients",
]


@dataclass(frozen=True)
class LaunchShape:
    """The sizes on which the best parameters of a kernel depend.

    Attributes:
        kernel: the kernel.
        positions: positions of the map that it fills, ``H W``.
        per_group: channels of a group.
        size, stride, dilation: the window.
        element: bytes of a value.
        extent: channels of the condition, of the fused kernels; 0 of the others.
    """

    kernel: KernelName
    positions: int
    per_group: int
    size: int
    stride: int
    dilation: int
    element: int
    extent: int = 0


@dataclass(frozen=True)
class LaunchParameters:
    """How a kernel is launched.

    Attributes:
        positions: positions of one program.
        warps: warps of one program.
        stages: loads of the loop over taps that are under way at the same time.
    """

    positions: int
    warps: int
    stages: int

    def options(self) -> dict[str, int]:
        """Return the arguments of a Triton kernel."""
        return {"block_positions": self.positions, "num_warps": self.warps, "num_stages": self.stages}


LaunchChoice: TypeAlias = Callable[[LaunchShape], LaunchParameters]

CANDIDATES = (
    LaunchParameters(128, 1, 3),
    LaunchParameters(128, 1, 2),
    LaunchParameters(64, 1, 3),
    LaunchParameters(128, 2, 3),
    LaunchParameters(256, 2, 3),
    LaunchParameters(256, 2, 2),
    LaunchParameters(256, 4, 3),
    LaunchParameters(512, 4, 2),
)
"""Of the kernels that read kernel values. The first holds for shapes that are not in the table: with 128 positions of
float32 per warp, a thread reads 16 bytes of kernel values."""

FUSED_CANDIDATES = (
    LaunchParameters(32, 4, 2),
    LaunchParameters(16, 4, 2),
    LaunchParameters(64, 4, 2),
    LaunchParameters(64, 8, 2),
    LaunchParameters(128, 8, 2),
)
"""Of the kernels that compute kernel values. The first holds for shapes that are not in the table."""

LAUNCHES: Mapping[LaunchShape, LaunchParameters] = {}
"""The best parameters by shape, as measured. No GPU was at hand for this version, so there are none."""


def candidates_for(shape: LaunchShape) -> tuple[LaunchParameters, ...]:
    """Return the parameters that are worth trying; the first ones hold for shapes that are not in the table."""
    return FUSED_CANDIDATES if shape.kernel.startswith("fused") else CANDIDATES


def chosen_launch(shape: LaunchShape) -> LaunchParameters:
    """Return the parameters of a shape."""
    return LAUNCHES.get(shape) or candidates_for(shape)[0]
