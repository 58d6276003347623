"""Primary rays: which object each pixel sees and how far away.

Rays leave the eye as ``forward + u right + v up``, so that a ray's parameter is the depth along the line of
sight, as in CLEVR's ``pixel_coords``. Objects are tested as unit bodies in their own frames: the sphere
``|p| = 1``, the cube ``max |p_i| = 1``, the upright cylinder ``p_x^2 + p_y^2 = 1, |p_z| <= 1``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.camera import Array, focal_length
from fusion_bench.data.miniclevr.stage import Size, Stage, pair_up

_NEVER = float("inf")


@dataclass(frozen=True, eq=False)
class Hits:
    """What ``S`` pictures of ``H x W`` pixels see.

    Attributes:
        object: ``[S * H * W]`` int64, the stage's object, or -1 for the ground.
        depth: ``[S * H * W]`` its depth; infinite on the ground.
    """

    object: Tensor
    depth: Tensor


def cast(stage: Stage, size: Size) -> Hits:
    """Send one ray through the centre of every pixel."""
    pixels = len(stage) * size[0] * size[1]
    pairs = pair_up(stage.scene, stage.bounds(stage.corners(), size), size)
    focal = focal_length(size)
    eye, right, up, forward = (as_tensor(part) for part in _local_frames(stage))
    v = (size[0] / 2 - 0.5 - pairs.rows_y.float()) / focal
    row_ray = forward[:, pairs.rows_object] + v * up[:, pairs.rows_object]
    u = (pairs.x.float() + (0.5 - size[1] / 2)) / focal
    ray = row_ray[:, pairs.row] + u * right[:, pairs.object]
    depth = intersect(stage, eye[:, pairs.object], ray, pairs.starts)
    hit = torch.nonzero(depth < _NEVER).squeeze(1)
    depth, target = depth[hit], pairs.pixel[hit]
    # Positive floats sort like their bit patterns, so one integer minimum finds depth and object at once.
    key = (depth.view(torch.int32).long() << 32) | pairs.object[hit]
    nearest = torch.full((pixels,), torch.iinfo(torch.int64).max)
    nearest.scatter_reduce_(0, target, key, "amin")
    seen = nearest < torch.iinfo(torch.int64).max
    return Hits(
        object=torch.where(seen, nearest & 0xFFFFFFFF, -1),
        depth=torch.where(seen, (nearest >> 32).int().view(torch.float32), _NEVER),
    )


def as_tensor(values: Array) -> Tensor:
    """float32 tensor of double-precision values."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _local_frames(stage: Stage) -> tuple[Array, Array, Array, Array]:
    """Eye, right, up and forward of each object's camera in the object's own frame, each ``[3, O]``."""
    axes = stage.axes[stage.scene]
    vectors = (stage.eye[stage.scene] - stage.centre, axes[:, 0], axes[:, 1], axes[:, 2])
    cos, sin = stage.turn[:, 0], stage.turn[:, 1]
    eye, right, up, forward = (
        np.stack([cos * v[:, 0] + sin * v[:, 1], cos * v[:, 1] - sin * v[:, 0], v[:, 2]]) / stage.radius
        for v in vectors
    )
    return eye, right, up, forward


def intersect(stage: Stage, origin: Tensor, ray: Tensor, starts: Array) -> Tensor:
    """Where rays enter unit bodies.

    Args:
        stage: for its objects' shapes.
        origin: ``[3, N]`` in the frames of the objects, pairs ordered by object.
        ray: ``[3, N]``.
        starts: ``[O + 1]`` where each object's pairs begin.

    Returns:
        ``[N]`` ray parameters, infinite where the body is missed.
    """
    entering = {"sphere": _enter_sphere, "cube": _enter_cube, "cylinder": _enter_cylinder}
    parts = []
    for shape, objects in stage.slices.items():
        within = slice(int(starts[objects.start]), int(starts[objects.stop]))
        parts.append(entering[shape](origin[:, within], ray[:, within]))
    return torch.cat(parts)


def _enter_sphere(origin: Tensor, ray: Tensor) -> Tensor:
    squared = ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]
    closest = -(origin[0] * ray[0] + origin[1] * ray[1] + origin[2] * ray[2]) / squared
    near = origin + closest * ray
    inside = 1 - near[0] * near[0] - near[1] * near[1] - near[2] * near[2]
    depth = closest - (inside.clamp(min=0) / squared).sqrt()
    return torch.where(inside > 0, depth, _NEVER)


def _enter_cube(origin: Tensor, ray: Tensor) -> Tensor:
    enter, leave = _slab(origin[0], ray[0])
    for axis in (1, 2):
        into, out = _slab(origin[axis], ray[axis])
        enter, leave = torch.maximum(enter, into), torch.minimum(leave, out)
    return torch.where(enter < leave, enter, _NEVER)


def _enter_cylinder(origin: Tensor, ray: Tensor) -> Tensor:
    squared = ray[0] * ray[0] + ray[1] * ray[1]
    closest = -(origin[0] * ray[0] + origin[1] * ray[1]) / squared
    near_x, near_y = origin[0] + closest * ray[0], origin[1] + closest * ray[1]
    inside = 1 - near_x * near_x - near_y * near_y
    half = (inside.clamp(min=0) / squared).sqrt()
    into, out = _slab(origin[2], ray[2])
    enter, leave = torch.maximum(closest - half, into), torch.minimum(closest + half, out)
    return torch.where((inside > 0) & (enter < leave), enter, _NEVER)


def _slab(origin: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """Where a ray enters and leaves ``[-1, 1]`` along one axis; a ray along the slab has infinite ends."""
    slope = 1 / ray
    one, other = (-1 - origin) * slope, (1 - origin) * slope
    return torch.minimum(one, other), torch.maximum(one, other)
