"""Rendering of scenes, and the object that each pixel shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.render.raycast import cast_rays, ground_points, object_slots, visible_surface
from fusion_bench.data.miniclevr.render.scene_batch import Size, make_scene_batch, take_last
from fusion_bench.data.miniclevr.render.shading import ground_colour, object_colour, to_bytes
from fusion_bench.data.miniclevr.render.shadows import compute_shadows
from fusion_bench.data.miniclevr.scenes.scenes import Scene

_RAYS_AT_ONCE = 1 << 20  # a few hundred megabytes at most; larger batches are not faster
_SAMPLES = 2  # rays along each side of a pixel


def render(
    scenes: Sequence[Scene], size: Size, rendered: Callable[[int], None] = lambda _: None
) -> npt.NDArray[np.uint8]:
    """Render scenes by ray casting, antialiased with four rays per pixel.

    The image of a scene has the same bytes in every batch.

    Args:
        scenes: ``B`` scenes.
        size: height and width in pixels.
        rendered: is told, now and then, how many scenes are rendered.

    Returns:
        ``[B, H, W, 3]`` uint8.
    """
    images = np.empty((len(scenes), *size, 3), dtype=np.uint8)
    at_once = max(1, _RAYS_AT_ONCE // (_SAMPLES * size[0] * _SAMPLES * size[1]))
    for start in range(0, len(scenes), at_once):
        part = scenes[start : start + at_once]
        images[start : start + at_once] = _render_batch(part, size).numpy()
        rendered(start + len(part))
    return images


def _render_batch(scenes: Sequence[Scene], size: Size) -> Tensor:
    """Return images ``[S, H, W, 3]`` uint8; ground and shadows are smooth, so they use one ray per pixel."""
    batch, sample_size = make_scene_batch(scenes), (_SAMPLES * size[0], _SAMPLES * size[1])
    ground = ground_points(batch, size)
    shadows = compute_shadows(batch, ground, visible_surface(batch, cast_rays(batch, size), size), size)
    pixel_shape = (len(batch), size[0], 1, size[1], 1)
    sample_shape = (len(batch), size[0], _SAMPLES, size[1], _SAMPLES)
    colour = (
        ground_colour(batch, ground, shadows)
        .clamp(0, 1)
        .view(3, *pixel_shape)
        .expand(3, *sample_shape)
        .reshape(3, -1)
    )
    pixel = torch.arange(ground.shape[1]).view(pixel_shape).expand(sample_shape).reshape(-1)
    surface = visible_surface(batch, cast_rays(batch, sample_size), sample_size)
    object_colours = object_colour(batch, surface, take_last(shadows.object, take_last(pixel, surface.pixel)))
    # Values are clamped before averaging, so that the edges of highlights are smooth too.
    rays = colour.index_copy_(1, surface.pixel, object_colours.clamp(0, 1)).view(3, *sample_shape)
    rows = rays[:, :, :, 0] + rays[:, :, :, 1]
    return to_bytes((rows[..., 0] + rows[..., 1]) * 0.25).permute(1, 2, 3, 0)


def object_ids(scenes: Sequence[Scene], size: Size) -> npt.NDArray[np.int8]:
    """Return the number of the object that the ray through each pixel's centre hits, ``[B, H, W]``; -1: ground."""
    ids = np.empty((len(scenes), *size), dtype=np.int8)
    at_once = max(1, _RAYS_AT_ONCE // (size[0] * size[1]))
    for start in range(0, len(scenes), at_once):
        part = scenes[start : start + at_once]
        batch = make_scene_batch(part)
        ids[start : start + at_once] = object_slots(batch, cast_rays(batch, size)).reshape(len(part), *size)
    return ids


def visible_masks(ids: npt.NDArray[np.int8], things: int) -> npt.NDArray[np.bool_]:
    """Return the visible pixels of each object, ``[B, things, H, W]``, from the result of `object_ids`."""
    numbers = np.arange(things, dtype=np.int8)
    visible: npt.NDArray[np.bool_] = ids[:, None] == numbers[:, None, None]
    return visible


def visible_boxes(ids: npt.NDArray[np.int8], things: int) -> npt.NDArray[np.int64]:
    """Return x, y, width and height in pixels of `visible_masks`, ``[B, things, 4]``; zeros for invisible objects."""
    visible = visible_masks(ids, things)
    x, width = _extent(np.logical_or.reduce(visible, axis=2))
    y, height = _extent(np.logical_or.reduce(visible, axis=3))
    return np.stack([x, y, width, height], axis=2)


def _extent(occupied: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first True along the last axis, and the extent to the last True, inclusive; 0 without True."""
    first = occupied.argmax(axis=-1)
    last = occupied.shape[-1] - occupied[..., ::-1].argmax(axis=-1)
    return first, np.where(occupied.any(axis=-1), last - first, 0)
