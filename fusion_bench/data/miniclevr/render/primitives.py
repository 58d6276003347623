"""The three shapes as unit primitives in local coordinates: intersections with rays, and normals.

The sphere is ``|p| = 1``, the cube ``max |p_i| = 1``, the upright cylinder ``p_x^2 + p_y^2 = 1, |p_z| <= 1``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.scene_batch import SceneBatch
from fusion_bench.data.miniclevr.scenes.camera import Array
from fusion_bench.data.miniclevr.scenes.scenes import SHAPES

NO_HIT = float("inf")
"""The ray parameter of a ray that does not hit a primitive."""


def object_frames(batch: SceneBatch) -> Array:
    """Return the coefficients ``[5, O]`` of `ground_to_local`: scaled cosine and sine, offset x and y, scale."""
    cos, sin, scale = batch.turn[:, 0] / batch.radius, batch.turn[:, 1] / batch.radius, 1 / batch.radius
    x, y = batch.centre[:, 0], batch.centre[:, 1]
    return np.stack([cos, sin, -cos * x - sin * y, sin * x - cos * y, scale])


def ground_to_local(frame: Tensor, points: Tensor) -> Tensor:
    """Return world points ``[3, N]`` in local coordinates of objects on the ground; ``frame`` is ``[>= 5, N]``."""
    cos, sin, shift_x, shift_y, scale = frame[:5]
    x, y, z = points
    return torch.stack([cos * x + sin * y + shift_x, cos * y - sin * x + shift_y, z * scale - 1])


def to_local(batch: SceneBatch, points: Array) -> Array:
    """Return world points ``[O, N, 3]`` in the local coordinates of the objects."""
    offset = (points - batch.centre[:, None]) / batch.radius[:, None, None]
    cos, sin = batch.turn[:, None, 0], batch.turn[:, None, 1]
    x, y = cos * offset[..., 0] + sin * offset[..., 1], cos * offset[..., 1] - sin * offset[..., 0]
    return np.stack([x, y, offset[..., 2]], axis=2)


def intersect(batch: SceneBatch, origin: Tensor, ray: Tensor, starts: npt.NDArray[np.int64]) -> Tensor:
    """Intersect rays with unit primitives.

    Args:
        batch: the scenes, for the shapes of their objects.
        origin: origins of the rays in local coordinates, ``[3, N]``, ordered by object.
        ray: directions of the rays in local coordinates, ``[3, N]``.
        starts: index of the first ray of each object, ``[O + 1]``.

    Returns:
        Ray parameters ``[N]`` of the entry points; infinite where the ray misses the object or starts behind it.
    """
    entering = {"sphere": _enter_sphere, "cube": _enter_cube, "cylinder": _enter_cylinder}
    depth = torch.empty(origin.shape[1])
    for shape, objects in batch.slices.items():
        within = slice(int(starts[objects.start]), int(starts[objects.stop]))
        depth[within] = entering[shape](origin[:, within], ray[:, within])
    return depth


def _enter_sphere(origin: Tensor, ray: Tensor) -> Tensor:
    squared = ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]
    closest = -(origin[0] * ray[0] + origin[1] * ray[1] + origin[2] * ray[2]) / squared
    x, y, z = (origin[axis] + closest * ray[axis] for axis in range(3))
    inside = 1 - x * x - y * y - z * z
    depth = closest - (inside.clamp(min=0) / squared).sqrt()
    return _mark_misses(depth, (inside <= 0) | (depth <= 0))


def _enter_cube(origin: Tensor, ray: Tensor) -> Tensor:
    enter, leave = _slab(origin[0], ray[0])
    for axis in (1, 2):
        into, out = _slab(origin[axis], ray[axis])
        enter, leave = torch.maximum(enter, into), torch.minimum(leave, out)
    return _mark_misses(enter, (enter >= leave) | (enter <= 0))


def _enter_cylinder(origin: Tensor, ray: Tensor) -> Tensor:
    squared = ray[0] * ray[0] + ray[1] * ray[1]
    closest = -(origin[0] * ray[0] + origin[1] * ray[1]) / squared
    x, y = origin[0] + closest * ray[0], origin[1] + closest * ray[1]
    inside = 1 - x * x - y * y
    half = (inside.clamp(min=0) / squared).sqrt()
    into, out = _slab(origin[2], ray[2])
    enter, leave = torch.maximum(closest - half, into), torch.minimum(closest + half, out)
    return _mark_misses(enter, (inside <= 0) | (enter >= leave) | (enter <= 0))


def _slab(origin: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ray parameters at which a ray enters and leaves ``[-1, 1]`` along one axis.

    They are infinite for a ray that is parallel to the slab.
    """
    slope = 1 / ray
    one, other = (-1 - origin) * slope, (1 - origin) * slope
    return torch.minimum(one, other), torch.maximum(one, other)


def _mark_misses(depth: Tensor, missed: Tensor) -> Tensor:
    return depth.masked_fill_(missed, NO_HIT)


def unit_normals(point: Tensor, shape: Tensor) -> Tensor:
    """Return unit normals ``[3, N]`` of unit primitives, with the rounded edges of CLEVR's models.

    The normal of a cube is that of ``sum |p_i|^18 = 1``, which is flat except near the edges; that of a cylinder is
    rounded in the same way where its side meets its ends.

    Args:
        point: points on the surface in local coordinates, ``[3, N]``.
        shape: index into ``SHAPES``, ``[N]``.
    """
    cube, cylinder = shape == SHAPES.index("cube"), shape == SHAPES.index("cylinder")
    x, y, z = point
    steep_x, steep_y, steep_z = _power17(x), _power17(y), _power17(z)
    radial = _power17((x * x + y * y).sqrt())
    normal = torch.stack(
        [
            torch.where(cube, steep_x, torch.where(cylinder, x * radial, x)),
            torch.where(cube, steep_y, torch.where(cylinder, y * radial, y)),
            torch.where(cube | cylinder, steep_z, z),
        ]
    )
    return normal / (normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2]).sqrt()


def _power17(value: Tensor) -> Tensor:
    power = value
    for _ in range(4):
        power = power * power
    return power * value
