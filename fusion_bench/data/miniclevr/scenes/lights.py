"""The three lamps and what falls from them on a surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_bench.data.miniclevr.scenes.camera import Point

USUAL_LAMPS: tuple[Point, Point, Point] = (
    (6.44671, -2.90517, 4.2584),
    (-4.67112, -4.0136, 3.01122),
    (-1.1685, 2.64602, 5.81574),
)
"""Where CLEVR's key, fill and back light stand before jitter."""

LAMP_JITTER = 1.0
"""Largest shift of a lamp along each axis."""

STRENGTH = ((5.2, 4.9, 4.4), (1.0, 1.05, 1.2), (2.5, 2.5, 2.5))
"""Red, green and blue of each lamp, as the ground sends it back."""

AMBIENT = 0.14
"""Light from everywhere, as the ground sends it back."""

BRIGHTER = 1.9
"""What an object of albedo 1 sends back against the grey ground."""


@dataclass(frozen=True, eq=False)
class Lit:
    """Light at ``N`` points: its ``direct`` colour ``[3, N]`` and the unit vectors ``toward`` each lamp."""

    direct: Tensor
    toward: Sequence[Tensor]


def light_at(lamps: Tensor, at: Tensor, normal: Tensor, arriving: Tensor) -> Lit:
    """Lambert's law with inverse squares.

    Args:
        lamps: ``[3, 3, N]`` lamp, axis, point.
        at: ``[3, N]`` points in the world.
        normal: ``[3, N]`` unit normals there.
        arriving: ``[3, N]`` share of each lamp's light that is not shadowed.
    """
    toward, direct = [], torch.zeros_like(at)
    for lamp, strength in enumerate(STRENGTH):
        way = lamps[lamp] - at
        squared = dot(way, way)
        unit = way / squared.sqrt()
        falling = dot(normal, unit).clamp(min=0) / squared * arriving[lamp]
        for channel in range(3):
            direct[channel] += strength[channel] * falling
        toward.append(unit)
    return Lit(direct, toward)


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Scalar products ``[N]`` of ``[3, N]`` vectors, summed in a fixed order."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
