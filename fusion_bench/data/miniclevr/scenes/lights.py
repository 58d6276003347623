"""The three lights of a scene and their diffuse illumination of a surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_bench.data.miniclevr.scenes.camera import Point

DEFAULT_LIGHTS: tuple[Point, Point, Point] = (
    (6.44671, -2.90517, 4.2584),
    (-4.67112, -4.0136, 3.01122),
    (-1.1685, 2.64602, 5.81574),
)
"""The places of CLEVR's key, fill and back light without jitter."""

LIGHT_JITTER = 1.0
"""The greatest shift of a light along each axis."""

LIGHT_STRENGTHS = ((5.2, 4.9, 4.4), (1.0, 1.05, 1.2), (2.5, 2.5, 2.5))
"""Red, green and blue strength of each light, in units of the light that the ground reflects."""

AMBIENT = 0.14
"""Strength of the ambient light, in units of the light that the ground reflects."""

OBJECT_GAIN = 1.9
"""Light that an object of albedo 1 reflects, relative to the grey ground."""


@dataclass(frozen=True, eq=False)
class DirectLight:
    """The direct light at ``N`` points.

    Attributes:
        direct: its colour ``[3, N]``.
        toward: for each light, the unit vectors ``[3, N]`` from the points to the light.
    """

    direct: Tensor
    toward: Sequence[Tensor]


def light_at(lights: Tensor, at: Tensor, normal: Tensor, unshadowed: Tensor) -> DirectLight:
    """Return the direct light by Lambert's law, ``n . l / d^2`` per light.

    Args:
        lights: places of the lights for each point, ``[3, 3, N]`` (light, axis, point).
        at: points in the world, ``[3, N]``.
        normal: unit normals at the points, ``[3, N]``.
        unshadowed: share of each light that is not shadowed, ``[3, N]``.
    """
    toward, direct = [], torch.zeros_like(at)
    for light, strength in enumerate(LIGHT_STRENGTHS):
        offset = lights[light] - at
        squared = dot(offset, offset)
        unit = offset / squared.sqrt()
        received = dot(normal, unit).clamp(min=0) / squared * unshadowed[light]
        for channel in range(3):
            direct[channel] += strength[channel] * received
        toward.append(unit)
    return DirectLight(direct, toward)


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the scalar products ``[N]`` of vectors ``[3, N]``, summed in a fixed order."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
