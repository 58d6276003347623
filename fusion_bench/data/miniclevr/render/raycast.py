"""Primary rays: which object each pixel sees and how far away.

Rays leave the eye as ``forward + u right + v up``, so that a ray's parameter is the depth along the line of
sight, as in CLEVR's ``pixel_coords``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.primitives import NEVER, intersect, unit_normals
from fusion_bench.data.miniclevr.render.scene_batch import SceneBatch, Size, as_tensor, gathered, pair_up
from fusion_bench.data.miniclevr.scenes.camera import Array, focal_length

_FAR = 60.0
_NOTHING = torch.iinfo(torch.int64).max


@dataclass(frozen=True, eq=False)
class Hits:
    """What ``S`` pictures of ``H x W`` pixels see.

    Attributes:
        object: ``[S * H * W]`` int64, the stage's object, or -1 for the ground.
        depth: ``[S * H * W]`` its depth; infinite on the ground.
        seen: ``[N]`` the pixels that see an object, ascending.
    """

    object: Tensor
    depth: Tensor
    seen: Tensor


def cast(batch: SceneBatch, size: Size) -> Hits:
    """Send one ray through the centre of every pixel."""
    pairs = pair_up(batch.scene, batch.bounds(batch.corners(), size), size)
    focal = focal_length(size)
    eye, right, up, forward = (part.astype(np.float32) for part in _local_frames(batch))
    owner, y = pairs.rows
    v = (np.float32(size[0] / 2 - 0.5) - y.astype(np.float32)) / np.float32(focal)
    u = (pairs.column + (0.5 - size[1] / 2)) / focal
    ray = pairs.of_rows(forward[:, owner] + v * up[:, owner]) + u * pairs.of_objects(right)
    depth = intersect(batch, pairs.of_objects(eye), ray, pairs.starts)
    return nearest(pairs.pixel, pairs.object, depth, len(batch) * size[0] * size[1])


def nearest(ray: Tensor, body: Tensor, depth: Tensor, rays: int) -> Hits:
    """The first body that each of ``rays`` rays meets, from ``[N]`` tests of which most are infinite."""
    hit = torch.from_numpy(np.flatnonzero((depth < NEVER).numpy()))
    # Positive floats sort like their bit patterns, so one integer minimum finds depth and object at once.
    key = (gathered(depth, hit).view(torch.int32).long() << 32) | gathered(body, hit)
    first = torch.full((rays,), _NOTHING).scatter_reduce_(0, gathered(ray, hit), key, "amin")
    seen = torch.from_numpy(np.flatnonzero((first < _NOTHING).numpy()))
    winner = gathered(first, seen)
    objects = torch.full((rays,), -1).scatter_(0, seen, winner & 0xFFFFFFFF)
    depths = torch.full((rays,), NEVER).scatter_(0, seen, (winner >> 32).int().view(torch.float32))
    return Hits(objects, depths, seen)


def _local_frames(batch: SceneBatch) -> tuple[Array, Array, Array, Array]:
    """Eye, right, up and forward of each object's camera in the object's own frame, each ``[3, O]``."""
    axes = batch.axes[batch.scene]
    vectors = (batch.eye[batch.scene] - batch.centre, axes[:, 0], axes[:, 1], axes[:, 2])
    cos, sin = batch.turn[:, 0], batch.turn[:, 1]
    eye, right, up, forward = (
        np.stack([cos * v[:, 0] + sin * v[:, 1], cos * v[:, 1] - sin * v[:, 0], v[:, 2]]) / batch.radius
        for v in vectors
    )
    return eye, right, up, forward


def ground_points(batch: SceneBatch, size: Size) -> Tensor:
    """``[3, S * H * W]``: where each pixel's ray meets the ground; rays above the horizon end far away."""
    height, width = size
    focal = focal_length(size)
    right, up, forward = (as_tensor(batch.axes[:, i].T)[:, :, None, None] for i in range(3))
    u = ((torch.arange(width) + (0.5 - width / 2)) / focal)[None, None, None]
    v = ((height / 2 - 0.5 - torch.arange(height)) / focal)[None, None, :, None]
    ray = (forward + v * up) + u * right
    eye = as_tensor(batch.eye.T)[:, :, None, None]
    # A ray that does not fall meets no ground: its slope is taken as so small that the ground is far.
    depth = (eye[2] / (-ray[2]).clamp(min=1e-3)).clamp(max=_FAR)
    return (eye + depth * ray).reshape(3, -1)


@dataclass(frozen=True, eq=False)
class Surface:
    """The ``N`` pixels that see an object.

    Attributes:
        pixel: ``[N]`` where, ascending.
        object: ``[N]`` which.
        at: ``[3, N]`` the points seen, in the world.
        normal: ``[3, N]`` unit normals there.
    """

    pixel: Tensor
    object: Tensor
    at: Tensor
    normal: Tensor


def surfaces(batch: SceneBatch, hits: Hits, size: Size) -> Surface:
    """Points and normals of the objects that are seen in pictures of ``(height, width)``."""
    height, width = size
    thing = gathered(hits.object, hits.seen)
    row, x = hits.seen // width, hits.seen % width
    focal = focal_length(size)
    u, v = (x + (0.5 - width / 2)) / focal, (height / 2 - 0.5 - row % height) / focal
    axes, eye = batch.axes[batch.scene], batch.eye[batch.scene] - batch.centre
    table = [*eye.T, *axes[:, 0].T, *axes[:, 1].T, *axes[:, 2].T, *batch.centre.T, *batch.turn.T]
    columns = gathered(as_tensor(np.stack([*table, 1 / batch.radius, batch.shape])), thing)
    eye_, right, up, forward = columns[:12].view(4, 3, -1)
    cos, sin, scale, shape = columns[15:]
    depth = gathered(hits.depth, hits.seen)
    offset = eye_ + depth * ((forward + v * up) + u * right)
    dx, dy, dz = offset
    local = torch.stack([(cos * dx + sin * dy) * scale, (cos * dy - sin * dx) * scale, dz * scale])
    n = unit_normals(local, shape)
    normal = torch.stack([cos * n[0] - sin * n[1], sin * n[0] + cos * n[1], n[2]])
    return Surface(hits.seen, thing, offset + columns[12:15], normal)


def object_slots(batch: SceneBatch, hits: Hits) -> npt.NDArray[np.int8]:
    """``[S * H * W]``: the number within its scene of the thing that each pixel sees, -1 for the ground."""
    slots = np.append(batch.slot, -1).astype(np.int8)
    found: npt.NDArray[np.int8] = slots[hits.object.numpy()]
    return found
