"""Pictures of scenes, and which object each of their pixels shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.raycast import cast, ground_points, object_slots, surfaces
from fusion_bench.data.miniclevr.render.scene_batch import Size, gathered, make_scene_batch
from fusion_bench.data.miniclevr.render.shading import paint_bodies, paint_ground, to_bytes
from fusion_bench.data.miniclevr.render.shadows import shade
from fusion_bench.data.miniclevr.scenes.scenes import Scene

_RAYS_AT_ONCE = 1 << 20  # a few hundred megabytes at most; larger batches are no faster
_FINER = 2  # rays along each side of a pixel


def render(scenes: Sequence[Scene], size: Size) -> npt.NDArray[np.uint8]:
    """Ray-cast pictures, antialiased by four rays a pixel.

    A scene's picture has the same bytes whatever other scenes are rendered with it.

    Args:
        scenes: ``B`` of them.
        size: height and width in pixels.

    Returns:
        ``[B, H, W, 3]`` uint8.
    """
    images = np.empty((len(scenes), *size, 3), dtype=np.uint8)
    at_once = max(1, _RAYS_AT_ONCE // (_FINER * size[0] * _FINER * size[1]))
    for start in range(0, len(scenes), at_once):
        part = scenes[start : start + at_once]
        images[start : start + at_once] = _picture(part, size).numpy()
    return images


def _picture(scenes: Sequence[Scene], size: Size) -> Tensor:
    """``[S, H, W, 3]`` uint8. The ground and all shadows are smooth: one ray a pixel suffices for them."""
    batch, fine = make_scene_batch(scenes), (_FINER * size[0], _FINER * size[1])
    ground = ground_points(batch, size)
    shades = shade(batch, ground, surfaces(batch, cast(batch, size), size), size)
    layout = (len(batch), size[0], 1, size[1], 1)
    finer = (len(batch), size[0], _FINER, size[1], _FINER)
    colour = paint_ground(batch, ground, shades).clamp(0, 1).view(3, *layout).expand(3, *finer).reshape(3, -1)
    pixel = torch.arange(ground.shape[1]).view(layout).expand(finer).reshape(-1)
    surface = surfaces(batch, cast(batch, fine), fine)
    bodies = paint_bodies(batch, surface, gathered(shades.body, gathered(pixel, surface.pixel)))
    # Clamped before averaging, so that the edge of a highlight is smooth too.
    rays = colour.index_copy_(1, surface.pixel, bodies.clamp(0, 1)).view(3, *finer)
    rows = rays[:, :, :, 0] + rays[:, :, :, 1]
    return to_bytes((rows[..., 0] + rows[..., 1]) * 0.25).permute(1, 2, 3, 0)


def object_ids(scenes: Sequence[Scene], size: Size) -> npt.NDArray[np.int8]:
    """``[B, H, W]``: which thing the ray through each pixel's centre meets, by its number; -1 for the ground."""
    ids = np.empty((len(scenes), *size), dtype=np.int8)
    at_once = max(1, _RAYS_AT_ONCE // (size[0] * size[1]))
    for start in range(0, len(scenes), at_once):
        part = scenes[start : start + at_once]
        batch = make_scene_batch(part)
        ids[start : start + at_once] = object_slots(batch, cast(batch, size)).reshape(len(part), *size)
    return ids


def masks(ids: npt.NDArray[np.int8], things: int) -> npt.NDArray[np.bool_]:
    """``[B, things, H, W]``: the visible pixels of each thing, from `object_ids`."""
    numbers = np.arange(things, dtype=np.int8)
    found: npt.NDArray[np.bool_] = ids[:, None] == numbers[:, None, None]
    return found


def boxes(ids: npt.NDArray[np.int8], things: int) -> npt.NDArray[np.int64]:
    """``[B, things, 4]``: x, y, width and height around `masks`, in pixels; zeros where nothing is visible."""
    visible = masks(ids, things)
    x, width = _extent(np.logical_or.reduce(visible, axis=2))
    y, height = _extent(np.logical_or.reduce(visible, axis=3))
    return np.stack([x, y, width, height], axis=2)


def _extent(occupied: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First True along the last axis and the distance to behind the last one."""
    first = occupied.argmax(axis=-1)
    last = occupied.shape[-1] - occupied[..., ::-1].argmax(axis=-1)
    return first, np.where(occupied.any(axis=-1), last - first, 0)
