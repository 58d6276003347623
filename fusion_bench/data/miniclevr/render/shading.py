"""Shading: Lambert's law under three lights for the ground, for rubber and for metal.

The strengths of the lights and the ambient light were fitted to the ground of CLEVR's released images. Light is
linear; an image stores its square root, which is close to sRGB and has the same bytes in every batch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.raycast import Surface
from fusion_bench.data.miniclevr.render.reflections import reflected_colour
from fusion_bench.data.miniclevr.render.scene_batch import SceneBatch, as_tensor, take_last
from fusion_bench.data.miniclevr.render.shadows import Shadows
from fusion_bench.data.miniclevr.scenes.lights import AMBIENT, LIGHT_STRENGTHS, OBJECT_GAIN, dot, light_at

_HIGHLIGHT = 0.05  # strength of the highlight of rubber
_METAL_DIFFUSE = 0.15  # share of diffuse light that metal reflects


def object_colour(batch: SceneBatch, surface: Surface, unshadowed: Tensor) -> Tensor:
    """Return the linear colour ``[3, N]`` of the visible objects.

    Args:
        batch: the scenes.
        surface: the surface at the ``N`` pixels that show an object.
        unshadowed: share of each light that is not shadowed at these points, ``[3, N]``.
    """
    scene = take_last(torch.from_numpy(batch.scene), surface.object)
    lights = take_last(as_tensor(batch.lights.reshape(-1, 9).T), scene).view(3, 3, -1)
    lit = light_at(lights, surface.at, surface.normal, unshadowed)
    albedo = take_last(as_tensor(batch.albedo.T), surface.object)
    object_light = OBJECT_GAIN * albedo * (lit.direct + AMBIENT * (0.65 + 0.35 * surface.normal[2]))
    ray = surface.at - take_last(as_tensor(batch.camera_location.T), scene)
    ray = ray / dot(ray, ray).sqrt()
    reflected = ray - 2 * dot(ray, surface.normal) * surface.normal
    object_light += _HIGHLIGHT * _power16(dot(reflected, lit.toward[0]).clamp(min=0)) * unshadowed[0]
    metal = torch.from_numpy(np.flatnonzero(batch.metal[surface.object.numpy()]))
    metal_object, at, reflected, unshadowed = (
        take_last(values, metal) for values in (surface.object, surface.at, reflected, unshadowed)
    )
    reflection = reflected_colour(batch, metal_object, at, reflected, take_last(lights, metal), unshadowed)
    return object_light.index_copy_(1, metal, _METAL_DIFFUSE * take_last(object_light, metal) + reflection)


def ground_colour(batch: SceneBatch, points: Tensor, shadows: Shadows) -> Tensor:
    """Return the linear colour ``[3, S * H * W]`` of the grey ground at points ``[3, S * H * W]``.

    The formula is that of `light_at` with a vertical normal, computed scene by scene.
    """
    scenes = len(batch)
    x, y, z = points.view(3, scenes, -1)
    lights = as_tensor(batch.lights)[:, :, :, None]
    unshadowed = shadows.ground.view(3, scenes, -1)
    colour = (AMBIENT * shadows.sky).view(1, scenes, -1).repeat(3, 1, 1)
    for light, strength in enumerate(LIGHT_STRENGTHS):
        dx, dy, dz = lights[:, light, 0] - x, lights[:, light, 1] - y, lights[:, light, 2] - z
        squared = dx * dx + dy * dy + dz * dz
        received = dz.clamp(min=0) / (squared * squared.sqrt()) * unshadowed[light]
        for channel in range(3):
            colour[channel] += strength[channel] * received
    return colour.view(3, -1)


def to_bytes(colour: Tensor) -> Tensor:
    """Return the uint8 values of linear colour: ``255 sqrt(c)``, rounded."""
    return (colour.clamp(0, 1).sqrt() * 255 + 0.5).to(torch.uint8)


def _power16(value: Tensor) -> Tensor:
    for _ in range(4):
        value = value * value
    return value
