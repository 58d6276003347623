"""What polished metal shows: its neighbours, the lit ground below the horizon, a dim sky, the lamps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.primitives import NEVER, frame_of, intersect, into_frame
from fusion_bench.data.miniclevr.render.raycast import nearest
from fusion_bench.data.miniclevr.render.scene_batch import SceneBatch, as_tensor, gathered
from fusion_bench.data.miniclevr.scenes.lights import AMBIENT, dot, light_at

_SKY, _HORIZON = 0.045, 0.17
_FARTHEST = 12.0  # distance at which the mirrored ground has become the horizon
_LAMP_SEEN = (0.982, 0.994)  # cosines between which a mirrored lamp fades in
_LAMP_GLARE = (1.1, 0.5, 0.8)
_NEIGHBOUR = 0.4  # brightness of a mirrored neighbour's colour
_SILVER = 0.008  # part of every colour that metal mirrors as it is


def mirrored_room(
    batch: SceneBatch, thing: Tensor, at: Tensor, bounced: Tensor, lamps: Tensor, arriving: Tensor
) -> Tensor:
    """Linear colour ``[3, N]`` that metal adds to its own.

    Args:
        stage: the scenes.
        thing: ``[N]`` the metal objects seen, scenes in ascending order.
        at: ``[3, N]`` where.
        bounced: ``[3, N]`` unit vectors of the bounced rays.
        lamps: ``[3, 3, N]`` lamp, axis, point.
        arriving: ``[3, N]`` share of each lamp's light that is not shadowed.
    """
    albedo = gathered(as_tensor(batch.albedo.T), thing)
    room = _ground_or_sky(at, bounced, lamps)
    room = _over_neighbours(batch, thing, at, bounced, room)
    glare = torch.zeros(len(thing))
    low, high = _LAMP_SEEN
    for lamp, strength in enumerate(_LAMP_GLARE):
        way = lamps[lamp] - at
        cosine = dot(bounced, way) / dot(way, way).sqrt()
        near = ((cosine - low) / (high - low)).clamp(0, 1)
        glare = glare + strength * arriving[lamp] * near * near * (3 - 2 * near)
    tint = albedo + _SILVER
    return tint * (room + 0.5 * glare) + 0.3 * glare


def _ground_or_sky(at: Tensor, bounced: Tensor, lamps: Tensor) -> Tensor:
    down = (-bounced[2]).clamp(min=1e-3)
    reach = (at[2] / down).clamp(max=_FARTHEST)
    below, upright = at + reach * bounced, torch.zeros_like(at)
    below[2], upright[2] = 0, 1
    ground = light_at(lamps, below, upright, torch.ones_like(at)).direct + AMBIENT
    # Metal stands in its own light: the ground that it sees at its foot is dark.
    ground = ground * (0.2 + 0.8 * (reach / 1.5).clamp(max=1))
    far = reach / _FARTHEST
    ground = ground * (1 - far) + _HORIZON * far
    level = 1 - bounced[2].clamp(min=0)
    sky = _SKY + (_HORIZON - _SKY) * level * level * level * level
    return torch.where(bounced[2] < 0, ground, sky)


def _over_neighbours(batch: SceneBatch, thing: Tensor, at: Tensor, bounced: Tensor, room: Tensor) -> Tensor:
    """Lay the nearest mirrored neighbour over the room."""
    scene = batch.scene[thing.numpy()]
    first = np.searchsorted(scene, batch.scene, side="left")
    counts = np.searchsorted(scene, batch.scene, side="right") - first
    starts = np.concatenate([[0], np.cumsum(counts)])
    ray = torch.from_numpy(np.arange(starts[-1]) + np.repeat(first - starts[:-1], counts))
    body = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
    frame = torch.from_numpy(np.repeat(frame_of(batch).astype(np.float32), counts, axis=1))
    x, y, z = gathered(bounced, ray)
    cos, sin, _, _, scale = frame
    local = torch.stack([cos * x + sin * y, cos * y - sin * x, z * scale])
    distance = intersect(batch, into_frame(frame, gathered(at, ray)), local, starts)
    distance.masked_fill_(gathered(thing, ray) == body, NEVER)
    hits = nearest(ray, body, distance, len(thing))
    height = gathered(at[2] + hits.depth * bounced[2], hits.seen)
    seen = gathered(hits.object, hits.seen)
    albedo, radius = gathered(as_tensor(batch.albedo.T), seen), gathered(as_tensor(batch.radius), seen)
    colour = _NEIGHBOUR * (0.3 + 0.7 * (height / (2 * radius)).clamp(0, 1)) * albedo
    return room.index_copy_(1, hits.seen, colour)
