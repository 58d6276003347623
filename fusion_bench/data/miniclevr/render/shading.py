"""Light, surfaces and colour: Lambert's law under three lamps on the ground, on rubber and on metal.

The lamps' strengths and the ambient light were fitted to the ground of CLEVR's released pictures. Light is
linear; a picture stores the square root of it, which is close to sRGB and exact in every batch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.raycast import Surface
from fusion_bench.data.miniclevr.render.reflections import mirrored_room
from fusion_bench.data.miniclevr.render.scene_batch import SceneBatch, as_tensor, gathered
from fusion_bench.data.miniclevr.render.shadows import Shade
from fusion_bench.data.miniclevr.scenes.lights import AMBIENT, BRIGHTER, STRENGTH, dot, light_at

_SHEEN = 0.05  # of rubber
_SATIN = 0.15  # share of diffuse light that metal keeps


def paint_bodies(batch: SceneBatch, surface: Surface, arriving: Tensor) -> Tensor:
    """Linear colour ``[3, N]`` of the objects seen.

    Args:
        stage: the scenes.
        surface: the ``N`` pixels that see an object.
        arriving: ``[3, N]`` share of each lamp's light that arrives there.
    """
    scene = gathered(torch.from_numpy(batch.scene), surface.object)
    lamps = gathered(as_tensor(batch.lights.reshape(-1, 9).T), scene).view(3, 3, -1)
    lit = light_at(lamps, surface.at, surface.normal, arriving)
    albedo = gathered(as_tensor(batch.albedo.T), surface.object)
    body = BRIGHTER * albedo * (lit.direct + AMBIENT * (0.65 + 0.35 * surface.normal[2]))
    ray = surface.at - gathered(as_tensor(batch.eye.T), scene)
    ray = ray / dot(ray, ray).sqrt()
    bounced = ray - 2 * dot(ray, surface.normal) * surface.normal
    body += _SHEEN * _power16(dot(bounced, lit.toward[0]).clamp(min=0)) * arriving[0]
    shiny = torch.from_numpy(np.flatnonzero(batch.metal[surface.object.numpy()]))
    thing, at, bounced, arriving = (
        gathered(values, shiny) for values in (surface.object, surface.at, bounced, arriving)
    )
    mirrored = mirrored_room(batch, thing, at, bounced, gathered(lamps, shiny), arriving)
    return body.index_copy_(1, shiny, _SATIN * gathered(body, shiny) + mirrored)


def paint_ground(batch: SceneBatch, points: Tensor, shade: Shade) -> Tensor:
    """Linear colour ``[3, S * H * W]`` of the grey ground at points ``[3, S * H * W]``.

    It is `light_at` with an upright normal, laid out by scene.
    """
    scenes = len(batch)
    x, y, z = points.view(3, scenes, -1)
    lamps = as_tensor(batch.lights)[:, :, :, None]
    arriving = shade.ground.view(3, scenes, -1)
    colour = (AMBIENT * shade.sky).view(1, scenes, -1).repeat(3, 1, 1)
    for lamp, strength in enumerate(STRENGTH):
        dx, dy, dz = lamps[:, lamp, 0] - x, lamps[:, lamp, 1] - y, lamps[:, lamp, 2] - z
        squared = dx * dx + dy * dy + dz * dz
        falling = dz.clamp(min=0) / (squared * squared.sqrt()) * arriving[lamp]
        for channel in range(3):
            colour[channel] += strength[channel] * falling
    return colour.view(3, -1)


def to_bytes(colour: Tensor) -> Tensor:
    """uint8 values of linear colour."""
    return (colour.clamp(0, 1).sqrt() * 255 + 0.5).to(torch.uint8)


def _power16(value: Tensor) -> Tensor:
    for _ in range(4):
        value = value * value
    return value
