"""Dense attribute recognition: what a backbone learns from where no pretrained weights can be had.

Every cell of a grid over the picture is asked whether an object stands there and, if so, for its shape, size,
colour and material. The pictures come from a domain of scenes that no split draws from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_bench.data.miniclevr.placement import Recipe, draw_scenes
from fusion_bench.data.miniclevr.render.render import object_ids, render
from fusion_bench.data.miniclevr.scenes.conditions import CogentCondition
from fusion_bench.data.miniclevr.scenes.scenes import COLORS, MATERIALS, SHAPES, SIZES

DOMAIN = "pretext"
"""The scenes' domain; a split of this name is not to be."""

ATTRIBUTE_VALUES: tuple[tuple[str, ...], ...] = (SHAPES, SIZES, COLORS, MATERIALS)
"""Values of the four attributes, in the order of the last axis of `PretextImages.attributes`."""

ATTRIBUTE_NAMES = ("shape", "size", "color", "material")

IGNORED = -1


@dataclass(frozen=True, eq=False)
class PretextImages:
    """``N`` pictures and what they show.

    Attributes:
        images: ``[N, H, W, 3]`` uint8.
        ids: ``[N, H, W]`` int8, the thing that each pixel shows, -1 for the ground.
        attributes: ``[N, K, 4]`` int8, values of shape, size, colour and material by number; -1 beyond the
            last thing of a picture.
    """

    images: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int8]
    attributes: npt.NDArray[np.int8]


def pretext_images(
    seed: int,
    count: int,
    size: tuple[int, int],
    things: tuple[int, int] = (3, 10),
    condition: CogentCondition | None = None,
) -> PretextImages:
    """Draw and render pictures of the pretext's own scenes.

    Args:
        seed: of the scenes; pictures of a larger ``count`` begin with those of a smaller one.
        count: how many.
        size: height and width in pixels.
        things: fewest and most objects.
        condition: of CoGenT, which the scenes keep to.
    """
    scenes = draw_scenes(Recipe(seed, DOMAIN, size, things, condition), range(count))
    attributes = np.full((count, things[1], 4), IGNORED, dtype=np.int8)
    for row, scene in zip(attributes, scenes, strict=True):
        for values, thing in zip(row, scene.things, strict=False):
            values[:] = [
                known.index(getattr(thing, name))
                for name, known in zip(ATTRIBUTE_NAMES, ATTRIBUTE_VALUES, strict=True)
            ]
    return PretextImages(render(scenes, size), object_ids(scenes, size), attributes)


def cell_targets(
    ids: npt.NDArray[np.int8], attributes: npt.NDArray[np.int8], grid: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """What each cell of a grid shows.

    A cell belongs to the thing that covers most of its pixels among things, whatever the ground's share; its
    foreground target is the share of its pixels that show any thing.

    Args:
        ids: ``[N, H, W]``; H and W are split into cells that differ by at most one pixel.
        attributes: ``[N, K, 4]``.
        grid: cells down and across.

    Returns:
        ``[N, h, w]`` float32 foreground shares and ``[N, h, w, 4]`` int64 attributes, `IGNORED` where a cell
        shows no thing.
    """
    images, height, width = ids.shape
    things, (rows, columns) = attributes.shape[1], grid
    cell = (np.arange(height) * rows // height)[:, None] * columns + np.arange(width) * columns // width
    cells = rows * columns
    # One count of (image, cell, thing), the ground first.
    place = (np.arange(images)[:, None, None] * cells + cell) * (things + 1) + ids + 1
    counts = np.bincount(place.ravel(), minlength=images * cells * (things + 1))
    counts = counts.reshape(images, cells, things + 1)
    covered = counts[..., 1:].sum(axis=2)
    winner = counts[..., 1:].argmax(axis=2)
    found = np.take_along_axis(attributes.astype(np.int64), winner[..., None], axis=1)
    found[covered == 0] = IGNORED
    share = (covered / counts.sum(axis=2)).astype(np.float32)
    return share.reshape(images, rows, columns), found.reshape(images, rows, columns, 4)


def image_hashes(images: npt.NDArray[np.uint8]) -> list[str]:
    """SHA-256 of each picture's height, width and pixels ``[N, H, W, 3]``."""
    start = f"{images.shape[1]}x{images.shape[2]}\n".encode()
    return [hashlib.sha256(start + np.ascontiguousarray(image).tobytes()).hexdigest() for image in images]
