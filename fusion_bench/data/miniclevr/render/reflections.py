"""The reflections in polished metal: other objects, the ground below the horizon, a dim sky, and the lights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.primitives import NO_HIT, ground_to_local, intersect, object_frames
from fusion_bench.data.miniclevr.render.raycast import nearest_hits
from fusion_bench.data.miniclevr.render.scene_batch import SceneBatch, as_tensor, take_last
from fusion_bench.data.miniclevr.scenes.lights import AMBIENT, dot, light_at

_SKY, _HORIZON = 0.045, 0.17
_FARTHEST = 12.0  # distance at which the reflected ground has the colour of the horizon
_LIGHT_FADE = (0.982, 0.994)  # cosines between which a reflected light fades in
_LIGHT_GLARE = (1.1, 0.5, 0.8)
_OBJECT_BRIGHTNESS = 0.4  # brightness of a reflected object's colour
_UNTINTED = 0.008  # share of every colour that metal reflects unchanged


def reflected_colour(
    batch: SceneBatch, metal_object: Tensor, at: Tensor, reflected: Tensor, lights: Tensor, unshadowed: Tensor
) -> Tensor:
    """Return the linear colour ``[3, N]`` that metal adds to its own colour by reflection.

    Args:
        batch: the scenes.
        metal_object: the visible metal objects ``[N]``, scenes in ascending order.
        at: points on them in world coordinates, ``[3, N]``.
        reflected: unit vectors of the reflected rays, ``[3, N]``.
        lights: places of the lights for each point, ``[3, 3, N]`` (light, axis, point).
        unshadowed: share of each light that is not shadowed, ``[3, N]``.
    """
    albedo = take_last(as_tensor(batch.albedo.T), metal_object)
    surroundings = _ground_or_sky(at, reflected, lights)
    surroundings = _with_objects(batch, metal_object, at, reflected, surroundings)
    glare = torch.zeros(len(metal_object))
    low, high = _LIGHT_FADE
    for light, strength in enumerate(_LIGHT_GLARE):
        offset = lights[light] - at
        cosine = dot(reflected, offset) / dot(offset, offset).sqrt()
        near = ((cosine - low) / (high - low)).clamp(0, 1)
        glare = glare + strength * unshadowed[light] * near * near * (3 - 2 * near)
    tint = albedo + _UNTINTED
    return tint * (surroundings + 0.5 * glare) + 0.3 * glare


def _ground_or_sky(at: Tensor, reflected: Tensor, lights: Tensor) -> Tensor:
    down = (-reflected[2]).clamp(min=1e-3)
    reach = (at[2] / down).clamp(max=_FARTHEST)
    below, upright = at + reach * reflected, torch.zeros_like(at)
    below[2], upright[2] = 0, 1
    ground = light_at(lights, below, upright, torch.ones_like(at)).direct + AMBIENT
    # Metal shades the ground at its own base, so the reflection of that ground is dark.
    ground = ground * (0.2 + 0.8 * (reach / 1.5).clamp(max=1))
    far = reach / _FARTHEST
    ground = ground * (1 - far) + _HORIZON * far
    level = 1 - reflected[2].clamp(min=0)
    sky = _SKY + (_HORIZON - _SKY) * level * level * level * level
    return torch.where(reflected[2] < 0, ground, sky)


def _with_objects(
    batch: SceneBatch, metal_object: Tensor, at: Tensor, reflected: Tensor, surroundings: Tensor
) -> Tensor:
    """Replace the colour by that of the nearest reflected object, where a reflected ray hits one."""
    scene = batch.scene[metal_object.numpy()]
    first = np.searchsorted(scene, batch.scene, side="left")
    counts = np.searchsorted(scene, batch.scene, side="right") - first
    starts = np.concatenate([[0], np.cumsum(counts)])
    ray = torch.from_numpy(np.arange(starts[-1]) + np.repeat(first - starts[:-1], counts))
    other = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
    frame = torch.from_numpy(np.repeat(object_frames(batch).astype(np.float32), counts, axis=1))
    x, y, z = take_last(reflected, ray)
    cos, sin, _, _, scale = frame
    local = torch.stack([cos * x + sin * y, cos * y - sin * x, z * scale])
    distance = intersect(batch, ground_to_local(frame, take_last(at, ray)), local, starts)
    distance.masked_fill_(take_last(metal_object, ray) == other, NO_HIT)
    hits = nearest_hits(ray, other, distance, len(metal_object))
    height = take_last(at[2] + hits.depth * reflected[2], hits.seen)
    seen = take_last(hits.object, hits.seen)
    albedo, radius = take_last(as_tensor(batch.albedo.T), seen), take_last(as_tensor(batch.radius), seen)
    colour = _OBJECT_BRIGHTNESS * (0.3 + 0.7 * (height / (2 * radius)).clamp(0, 1)) * albedo
    return surroundings.index_copy_(1, hits.seen, colour)
