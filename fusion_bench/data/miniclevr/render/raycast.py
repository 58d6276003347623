"""Primary rays: the object that each pixel shows and its depth.

A ray has the direction ``forward + u right + v up``, so that the ray parameter is the depth along the viewing
direction, as in CLEVR's ``pixel_coords``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.primitives import NO_HIT, intersect, unit_normals
from fusion_bench.data.miniclevr.render.scene_batch import (
    SceneBatch,
    Size,
    as_tensor,
    pair_objects_with_pixels,
    take_last,
)
from fusion_bench.data.miniclevr.scenes.camera import Array, focal_length

_FAR = 60.0
_NO_KEY = torch.iinfo(torch.int64).max


@dataclass(frozen=True, eq=False)
class Hits:
    """The nearest object of each pixel in ``S`` images of ``H x W`` pixels.

    Attributes:
        object: ``[S * H * W]`` int64, index of the object in the batch, or -1 for the ground.
        depth: ``[S * H * W]`` depth of the object; infinite for the ground.
        seen: ``[N]`` the pixels that show an object, in ascending order.
    """

    object: Tensor
    depth: Tensor
    seen: Tensor


def cast_rays(batch: SceneBatch, size: Size) -> Hits:
    """Cast one ray through the centre of every pixel of images of ``size`` (height, width)."""
    pairs = pair_objects_with_pixels(batch.scene, batch.bounds(batch.corners(), size), size)
    focal = focal_length(size)
    camera_location, right, up, forward = (part.astype(np.float32) for part in _local_frames(batch))
    owner, y = pairs.rows
    v = (np.float32(size[0] / 2 - 0.5) - y.astype(np.float32)) / np.float32(focal)
    u = (pairs.column + (0.5 - size[1] / 2)) / focal
    ray = pairs.of_rows(forward[:, owner] + v * up[:, owner]) + u * pairs.of_objects(right)
    depth = intersect(batch, pairs.of_objects(camera_location), ray, pairs.starts)
    return nearest_hits(pairs.pixel, pairs.object, depth, len(batch) * size[0] * size[1])


def nearest_hits(ray: Tensor, tested_object: Tensor, depth: Tensor, rays: int) -> Hits:
    """Return the nearest hit of each ray.

    Args:
        ray: the ray of each test, ``[N]``.
        tested_object: the object of each test, ``[N]``.
        depth: the ray parameter of each test, ``[N]``; infinite for a miss.
        rays: number of rays.
    """
    hit = torch.from_numpy(np.flatnonzero((depth < NO_HIT).numpy()))
    # Positive floats have the same order as their bit patterns, so one integer minimum gives depth and object.
    key = (take_last(depth, hit).view(torch.int32).long() << 32) | take_last(tested_object, hit)
    first = torch.full((rays,), _NO_KEY).scatter_reduce_(0, take_last(ray, hit), key, "amin")
    seen = torch.from_numpy(np.flatnonzero((first < _NO_KEY).numpy()))
    winner = take_last(first, seen)
    objects = torch.full((rays,), -1).scatter_(0, seen, winner & 0xFFFFFFFF)
    depths = torch.full((rays,), NO_HIT).scatter_(0, seen, (winner >> 32).int().view(torch.float32))
    return Hits(objects, depths, seen)


def _local_frames(batch: SceneBatch) -> tuple[Array, Array, Array, Array]:
    """Return location, right, up and forward of the camera in each object's local coordinates, each ``[3, O]``."""
    axes = batch.axes[batch.scene]
    vectors = (batch.camera_location[batch.scene] - batch.centre, axes[:, 0], axes[:, 1], axes[:, 2])
    cos, sin = batch.turn[:, 0], batch.turn[:, 1]
    camera_location, right, up, forward = (
        np.stack([cos * v[:, 0] + sin * v[:, 1], cos * v[:, 1] - sin * v[:, 0], v[:, 2]]) / batch.radius
        for v in vectors
    )
    return camera_location, right, up, forward


def ground_points(batch: SceneBatch, size: Size) -> Tensor:
    """Return the ground point of each pixel's ray, ``[3, S * H * W]``; rays above the horizon end far away."""
    height, width = size
    focal = focal_length(size)
    right, up, forward = (as_tensor(batch.axes[:, i].T)[:, :, None, None] for i in range(3))
    u = ((torch.arange(width) + (0.5 - width / 2)) / focal)[None, None, None]
    v = ((height / 2 - 0.5 - torch.arange(height)) / focal)[None, None, :, None]
    ray = (forward + v * up) + u * right
    camera_location = as_tensor(batch.camera_location.T)[:, :, None, None]
    # A ray that does not point down never reaches the ground; it gets a small slope, so that its end is far away.
    depth = (camera_location[2] / (-ray[2]).clamp(min=1e-3)).clamp(max=_FAR)
    return (camera_location + depth * ray).reshape(3, -1)


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface at the ``N`` pixels that show an object.

    Attributes:
        pixel: ``[N]`` indices of the pixels, in ascending order.
        object: ``[N]`` indices of the objects.
        at: ``[3, N]`` the visible points in world coordinates.
        normal: ``[3, N]`` unit normals at these points.
    """

    pixel: Tensor
    object: Tensor
    at: Tensor
    normal: Tensor


def visible_surface(batch: SceneBatch, hits: Hits, size: Size) -> Surface:
    """Return the visible points and normals of objects in images of ``size`` (height, width)."""
    height, width = size
    thing = take_last(hits.object, hits.seen)
    row, x = hits.seen // width, hits.seen % width
    focal = focal_length(size)
    u, v = (x + (0.5 - width / 2)) / focal, (height / 2 - 0.5 - row % height) / focal
    axes, camera_location = batch.axes[batch.scene], batch.camera_location[batch.scene] - batch.centre
    table = [*camera_location.T, *axes[:, 0].T, *axes[:, 1].T, *axes[:, 2].T, *batch.centre.T, *batch.turn.T]
    columns = take_last(as_tensor(np.stack([*table, 1 / batch.radius, batch.shape])), thing)
    camera_offset, right, up, forward = columns[:12].view(4, 3, -1)
    cos, sin, scale, shape = columns[15:]
    depth = take_last(hits.depth, hits.seen)
    offset = camera_offset + depth * ((forward + v * up) + u * right)
    dx, dy, dz = offset
    local = torch.stack([(cos * dx + sin * dy) * scale, (cos * dy - sin * dx) * scale, dz * scale])
    n = unit_normals(local, shape)
    normal = torch.stack([cos * n[0] - sin * n[1], sin * n[0] + cos * n[1], n[2]])
    return Surface(hits.seen, thing, offset + columns[12:15], normal)


def object_slots(batch: SceneBatch, hits: Hits) -> npt.NDArray[np.int8]:
    """Return the number within its scene of the object that each pixel shows, ``[S * H * W]``; -1: ground."""
    slots = np.append(batch.slot, -1).astype(np.int8)
    found: npt.NDArray[np.int8] = slots[hits.object.numpy()]
    return found
