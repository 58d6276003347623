"""Soft shadows in closed form: how much of each light an object hides from each point.

In an object's own unit frame a point sees a light along a segment. The upright bodies hide it where the
segment's part below their top, laid onto the ground, meets their cross-section (a disc, a square); the
sphere where the segment meets it. The signed gap between the two, over the penumbra's width, gives the
hidden share; the penumbra widens by similar triangles with the occluder's distance from the point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.primitives import frame_of, into_frame, to_local
from fusion_bench.data.miniclevr.render.raycast import Surface
from fusion_bench.data.miniclevr.render.scene_batch import SceneBatch, Size, gathered, pair_up
from fusion_bench.data.miniclevr.scenes.camera import Array

_LIGHT_RADIUS = 0.45
_SHARPEST = 0.04  # half-width of a penumbra at contact, in radii of the object
_REACH = 4.5  # a shadow's length on the ground beyond which it has faded
_CONTACT_REACH = 2.4  # radii within which an object darkens the ground around it


@dataclass(frozen=True, eq=False)
class Shade:
    """What reaches the points that pixels see, one ray a pixel.

    Attributes:
        ground: ``[3, S * H * W]`` share of key, fill and back light that reaches the ground behind the pixel.
        body: ``[3, S * H * W]`` the same for the object that the pixel sees, else for the ground.
        sky: ``[S * H * W]`` share of the ambient light that reaches the ground.
    """

    ground: Tensor
    body: Tensor
    sky: Tensor


def shade(batch: SceneBatch, ground: Tensor, surface: Surface, size: Size) -> Shade:
    """Shadows of all objects on the ground and on each other.

    Args:
        stage: the scenes.
        ground: ``[3, S * H * W]`` points of the ground behind the pixels.
        surface: the pixels that see an object.
        size: height and width of the pictures.
    """
    pixels = ground.shape[1]
    at = torch.zeros(3, pixels).index_copy_(1, surface.pixel, surface.at)
    seen = torch.full((pixels,), -1).scatter_(0, surface.pixel, surface.object)
    on_ground, on_body = torch.ones(3, pixels), torch.ones(3, pixels)
    for light in range(3):
        place = batch.lights[batch.scene, light]
        pairs = pair_up(batch.scene, batch.bounds(_shadow_corners(batch, place), size, margin=1), size)
        target = to_local(batch, place[:, None])[:, 0].T
        frame = pairs.of_objects(
            np.concatenate([frame_of(batch), target, _LIGHT_RADIUS / batch.radius[None]])
        )
        arriving = _arriving(batch, frame, gathered(ground, pairs.pixel), pairs.starts)
        on_ground[light].scatter_reduce_(0, pairs.pixel, arriving, "amin")
        thing = gathered(seen, pairs.pixel)
        other = torch.from_numpy(np.flatnonzero(((thing >= 0) & (thing != pairs.object)).numpy()))
        starts = np.searchsorted(pairs.object.numpy()[other.numpy()], np.arange(len(batch.scene) + 1))
        pixel = gathered(pairs.pixel, other)
        arriving = _arriving(batch, gathered(frame, other), gathered(at, pixel), starts)
        on_body[light].scatter_reduce_(0, pixel, arriving, "amin")
    on_body = torch.where(seen >= 0, on_body, on_ground)
    return Shade(on_ground, on_body, _open_sky(batch, ground, size))


def _arriving(batch: SceneBatch, frame: Tensor, points: Tensor, starts: npt.NDArray[np.int64]) -> Tensor:
    """``[N]`` share of a lamp's light that passes objects on its way to points ``[3, N]``, ordered by object."""
    point, share = into_frame(frame, points), torch.empty(points.shape[1])
    for shape, objects in batch.slices.items():
        part = slice(int(starts[objects.start]), int(starts[objects.stop]))
        share[part] = 1 - _hidden_share(shape, point[:, part], frame[5:8, part], frame[8, part])
    return share


def _hidden_share(shape: str, point: Tensor, light: Tensor, lamp: Tensor) -> Tensor:
    """Share of a lamp of radius ``lamp`` at ``light`` that a unit body hides from ``point``."""
    way = light - point
    if shape == "sphere":
        part = (_dot(point, way) / -_dot(way, way)).clamp(0, 1)
        nearest = point + part * way
        gap = _dot(nearest, nearest).sqrt() - 1
    else:
        below_top = ((1 - point[2]) / way[2]).clamp(0, 1)
        flat, start = way[:2] * below_top, point[:2]
        along = (_dot(start, flat) / -_dot(flat, flat).clamp(min=1e-9)).clamp(0, 1)
        nearest = start + along * flat
        gap = _dot(nearest, nearest).sqrt() - 1 if shape == "cylinder" else _square_gap(start, flat)
        gap = gap + 1e3 * (point[2] - 1).clamp(min=0)  # from above its top a body hides nothing
        part = along * below_top
    part = part.clamp(max=0.9)
    width = _SHARPEST + lamp * part / (1 - part)
    share = (0.5 - 0.5 * gap / width).clamp(0, 1)
    # A lamp that looks larger than the body is never hidden as a whole.
    return share * share * (3 - 2 * share) / width.clamp(min=1)


def _square_gap(start: Tensor, flat: Tensor) -> Tensor:
    """Signed gap between a segment and the square ``max |p_i| = 1``: the widest separating axis."""
    middle, half = start + 0.5 * flat, 0.5 * flat.abs()
    beside = torch.maximum(middle[0].abs() - half[0], middle[1].abs() - half[1]) - 1
    length = _dot(flat, flat).clamp(min=1e-9).sqrt()
    across = (middle[0] * flat[1] - middle[1] * flat[0]).abs() - (flat[0].abs() + flat[1].abs())
    return torch.maximum(beside, across / length)


def _open_sky(batch: SceneBatch, ground: Tensor, size: Size) -> Tensor:
    """Ground near an object sees less of the sky: the share of the unit sphere in its place (cos / d^2)."""
    bounds = batch.bounds(_spread_corners(batch, _CONTACT_REACH)[:, :4], size)
    pairs = pair_up(batch.scene, bounds, size)
    x, y, _ = into_frame(pairs.of_objects(frame_of(batch)), gathered(ground, pairs.pixel))
    across = x * x + y * y
    squared = across + 1
    seen = torch.maximum(1 - 1 / (squared * squared.sqrt()), across / _CONTACT_REACH**2)
    return torch.ones(ground.shape[1]).scatter_reduce_(0, pairs.pixel, seen, "amin")


def _spread_corners(batch: SceneBatch, factor: float) -> Array:
    """``[O, 8, 3]``: the box of each object widened on the ground, the lower four corners first."""
    corners = batch.corners()
    corners[..., :2] = batch.centre[:, None, :2] + factor * (corners[..., :2] - batch.centre[:, None, :2])
    return corners[:, np.argsort(corners[0, :, 2], kind="stable")]


def _shadow_corners(batch: SceneBatch, place: Array) -> Array:
    """``[O, 12, 3]``: corners of what holds an object and the shadow that it throws on the ground."""
    corners = _spread_corners(batch, 1.15)
    top = corners[:, 4:]
    height = 2 * batch.radius[:, None, None]
    step = (top[..., :2] - place[:, None, :2]) * height / np.maximum(place[:, None, 2:] - height, 0.1)
    length = np.linalg.norm(step, axis=2, keepdims=True)
    step *= np.minimum(1.0, _REACH / np.maximum(length, 1e-9))
    ground = np.concatenate([top[..., :2] + step, np.zeros((*top.shape[:2], 1))], axis=2)
    return np.concatenate([corners, ground], axis=1)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Scalar products of ``[2, N]`` or ``[3, N]`` vectors, summed in a fixed order."""
    total = one[0] * other[0] + one[1] * other[1]
    return total + one[2] * other[2] if len(one) == 3 else total
