"""Soft shadows in closed form: the share of each light that objects hide from each point.

In the local coordinates of an object, the path from a point to a light is a segment. A cube or a cylinder hides the
light where the part of the segment below its top, projected to the ground, crosses its cross-section (a square or a
disc); a sphere hides it where the segment crosses the sphere. The signed gap between segment and object, divided by
the width of the penumbra, gives the hidden share. By similar triangles, the penumbra widens with the distance between
the object and the point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.primitives import ground_to_local, object_frames, to_local
from fusion_bench.data.miniclevr.render.raycast import Surface
from fusion_bench.data.miniclevr.render.scene_batch import (
    SceneBatch,
    Size,
    pair_objects_with_pixels,
    take_last,
)
from fusion_bench.data.miniclevr.scenes.camera import Array

_LIGHT_RADIUS = 0.45
_SHARPEST = 0.04  # half-width of the penumbra at contact, in radii of the object
_SHADOW_LENGTH = 4.5  # length on the ground after which a shadow has faded
_CONTACT_REACH = 2.4  # radii within which an object darkens the ground around it


@dataclass(frozen=True, eq=False)
class Shadows:
    """The share of light that is not shadowed, for one ray per pixel.

    Attributes:
        ground: ``[3, S * H * W]`` share of key, fill and back light that reaches the ground behind the pixel.
        object: ``[3, S * H * W]`` the same for the object that the pixel shows, or for the ground without an object.
        sky: ``[S * H * W]`` share of the ambient light that reaches the ground.
    """

    ground: Tensor
    object: Tensor
    sky: Tensor


def compute_shadows(batch: SceneBatch, ground: Tensor, surface: Surface, size: Size) -> Shadows:
    """Return the shadows of all objects on the ground and on each other.

    Args:
        batch: the scenes.
        ground: ground points behind the pixels, ``[3, S * H * W]``.
        surface: the surface at the pixels that show an object.
        size: height and width of the images.
    """
    pixels = ground.shape[1]
    at = torch.zeros(3, pixels).index_copy_(1, surface.pixel, surface.at)
    seen = torch.full((pixels,), -1).scatter_(0, surface.pixel, surface.object)
    on_ground, on_object = torch.ones(3, pixels), torch.ones(3, pixels)
    for light in range(3):
        place = batch.lights[batch.scene, light]
        pairs = pair_objects_with_pixels(
            batch.scene, batch.bounds(_shadow_corners(batch, place), size, margin=1), size
        )
        target = to_local(batch, place[:, None])[:, 0].T
        frame = pairs.of_objects(
            np.concatenate([object_frames(batch), target, _LIGHT_RADIUS / batch.radius[None]])
        )
        unshadowed = _unshadowed(batch, frame, take_last(ground, pairs.pixel), pairs.starts)
        on_ground[light].scatter_reduce_(0, pairs.pixel, unshadowed, "amin")
        thing = take_last(seen, pairs.pixel)
        other = torch.from_numpy(np.flatnonzero(((thing >= 0) & (thing != pairs.object)).numpy()))
        starts = np.searchsorted(pairs.object.numpy()[other.numpy()], np.arange(len(batch.scene) + 1))
        pixel = take_last(pairs.pixel, other)
        unshadowed = _unshadowed(batch, take_last(frame, other), take_last(at, pixel), starts)
        on_object[light].scatter_reduce_(0, pixel, unshadowed, "amin")
    on_object = torch.where(seen >= 0, on_object, on_ground)
    return Shadows(on_ground, on_object, _open_sky(batch, ground, size))


def _unshadowed(batch: SceneBatch, frame: Tensor, points: Tensor, starts: npt.NDArray[np.int64]) -> Tensor:
    """Return the share ``[N]`` of a light that reaches points ``[3, N]`` past objects, ordered by object."""
    point, share = ground_to_local(frame, points), torch.empty(points.shape[1])
    for shape, objects in batch.slices.items():
        part = slice(int(starts[objects.start]), int(starts[objects.stop]))
        share[part] = 1 - _hidden_share(shape, point[:, part], frame[5:8, part], frame[8, part])
    return share


def _hidden_share(shape: str, point: Tensor, light: Tensor, light_radius: Tensor) -> Tensor:
    """Return the share of a light of radius ``light_radius`` that a unit primitive hides from ``point``."""
    path = light - point
    if shape == "sphere":
        part = (_dot(point, path) / -_dot(path, path)).clamp(0, 1)
        nearest = point + part * path
        gap = _dot(nearest, nearest).sqrt() - 1
    else:
        below_top = ((1 - point[2]) / path[2]).clamp(0, 1)
        ground_path, start = path[:2] * below_top, point[:2]
        along = (_dot(start, ground_path) / -_dot(ground_path, ground_path).clamp(min=1e-9)).clamp(0, 1)
        nearest = start + along * ground_path
        gap = _dot(nearest, nearest).sqrt() - 1 if shape == "cylinder" else _square_gap(start, ground_path)
        gap = gap + 1e3 * (point[2] - 1).clamp(min=0)  # an object hides nothing from points above its top
        part = along * below_top
    part = part.clamp(max=0.9)
    width = _SHARPEST + light_radius * part / (1 - part)
    share = (0.5 - 0.5 * gap / width).clamp(0, 1)
    # A light that appears larger than the object is never hidden completely.
    return share * share * (3 - 2 * share) / width.clamp(min=1)


def _square_gap(start: Tensor, ground_path: Tensor) -> Tensor:
    """Return the signed gap between a segment and the square ``max |p_i| = 1``, along the best separating axis."""
    middle, half = start + 0.5 * ground_path, 0.5 * ground_path.abs()
    beside = torch.maximum(middle[0].abs() - half[0], middle[1].abs() - half[1]) - 1
    length = _dot(ground_path, ground_path).clamp(min=1e-9).sqrt()
    across = (middle[0] * ground_path[1] - middle[1] * ground_path[0]).abs() - (
        ground_path[0].abs() + ground_path[1].abs()
    )
    return torch.maximum(beside, across / length)


def _open_sky(batch: SceneBatch, ground: Tensor, size: Size) -> Tensor:
    """Return the share of the sky that ground points see; an object hides as much as a unit sphere (cos / d^2)."""
    bounds = batch.bounds(_spread_corners(batch, _CONTACT_REACH)[:, :4], size)
    pairs = pair_objects_with_pixels(batch.scene, bounds, size)
    x, y, _ = ground_to_local(pairs.of_objects(object_frames(batch)), take_last(ground, pairs.pixel))
    across = x * x + y * y
    squared = across + 1
    seen = torch.maximum(1 - 1 / (squared * squared.sqrt()), across / _CONTACT_REACH**2)
    return torch.ones(ground.shape[1]).scatter_reduce_(0, pairs.pixel, seen, "amin")


def _spread_corners(batch: SceneBatch, factor: float) -> Array:
    """Return the box of each object widened along the ground, ``[O, 8, 3]``, the lower four corners first."""
    corners = batch.corners()
    corners[..., :2] = batch.centre[:, None, :2] + factor * (corners[..., :2] - batch.centre[:, None, :2])
    return corners[:, np.argsort(corners[0, :, 2], kind="stable")]


def _shadow_corners(batch: SceneBatch, place: Array) -> Array:
    """Return corners ``[O, 12, 3]`` that enclose each object and its shadow on the ground."""
    corners = _spread_corners(batch, 1.15)
    top = corners[:, 4:]
    height = 2 * batch.radius[:, None, None]
    step = (top[..., :2] - place[:, None, :2]) * height / np.maximum(place[:, None, 2:] - height, 0.1)
    length = np.linalg.norm(step, axis=2, keepdims=True)
    step *= np.minimum(1.0, _SHADOW_LENGTH / np.maximum(length, 1e-9))
    ground = np.concatenate([top[..., :2] + step, np.zeros((*top.shape[:2], 1))], axis=2)
    return np.concatenate([corners, ground], axis=1)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the scalar products of vectors ``[2, N]`` or ``[3, N]``, summed in a fixed order."""
    total = one[0] * other[0] + one[1] * other[1]
    return total + one[2] * other[2] if len(one) == 3 else total
