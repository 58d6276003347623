"""Dense attribute recognition, the pretext task that trains a backbone where no pretrained weights are available.

For every position of a grid over the image, the task is to predict whether an object is there and, if so, its shape,
size, colour and material. The images come from a domain of scenes that no split uses.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_bench.data.miniclevr.placement import SceneRecipe, draw_scenes
from fusion_bench.data.miniclevr.render.render import object_ids, render
from fusion_bench.data.miniclevr.scenes.conditions import CogentCondition
from fusion_bench.data.miniclevr.scenes.scenes import COLORS, MATERIALS, SHAPES, SIZES
from fusion_bench.samples.counting import Notify, say_nothing

DOMAIN = "pretext"
"""The domain of the scenes; no split may have this name."""

ATTRIBUTE_VALUES: tuple[tuple[str, ...], ...] = (SHAPES, SIZES, COLORS, MATERIALS)
"""The values of the four attributes, in the order of the last axis of `PretextImages.attributes`."""

ATTRIBUTE_NAMES = ("shape", "size", "color", "material")

IGNORED = -1


@dataclass(frozen=True, eq=False)
class PretextImages:
    """``N`` images with their labels.

    Attributes:
        images: ``[N, H, W, 3]`` uint8.
        ids: ``[N, H, W]`` int8, the number of the object that each pixel shows, -1 for the ground.
        attributes: ``[N, K, 4]`` int8, the indices of shape, size, colour and material of each object; -1 after the
            last object of an image.
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
    notify: Notify = say_nothing,
) -> PretextImages:
    """Draw and render images of scenes of the pretext domain.

    Args:
        seed: seed of the scenes; the images of a larger ``count`` begin with those of a smaller one.
        count: number of images.
        size: height and width in pixels.
        things: least and greatest number of objects.
        condition: the CoGenT condition of the scenes; None allows any scene.
        notify: is told how many images are rendered.
    """
    scenes = draw_scenes(SceneRecipe(seed, DOMAIN, size, things, condition), range(count))
    attributes = np.full((count, things[1], 4), IGNORED, dtype=np.int8)
    for row, scene in zip(attributes, scenes, strict=True):
        for values, thing in zip(row, scene.things, strict=False):
            values[:] = [
                known.index(getattr(thing, name))
                for name, known in zip(ATTRIBUTE_NAMES, ATTRIBUTE_VALUES, strict=True)
            ]
    images = render(scenes, size, lambda done: notify("rendering pretext images", done, count))
    return PretextImages(images, object_ids(scenes, size), attributes)


def position_targets(
    ids: npt.NDArray[np.int8], attributes: npt.NDArray[np.int8], grid: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the targets of each position of a grid.

    A position has the attributes of the object that covers most of its pixels, regardless of the share of the ground.
    Its foreground target is the share of its pixels that show any object.

    Args:
        ids: ``[N, H, W]``; H and W are divided into grid positions whose sizes differ by at most one pixel.
        attributes: ``[N, K, 4]``.
        grid: number of rows and columns of positions, ``(h, w)``.

    Returns:
        Foreground shares ``[N, h, w]`` float32 and attributes ``[N, h, w, 4]`` int64, which are `IGNORED` at
        positions that show no object.
    """
    images, height, width = ids.shape
    things, (rows, columns) = attributes.shape[1], grid
    position = (np.arange(height) * rows // height)[:, None] * columns + np.arange(width) * columns // width
    positions = rows * columns
    # One count per (image, position, object), the ground first.
    key = (np.arange(images)[:, None, None] * positions + position) * (things + 1) + ids + 1
    counts = np.bincount(key.ravel(), minlength=images * positions * (things + 1))
    counts = counts.reshape(images, positions, things + 1)
    covered = counts[..., 1:].sum(axis=2)
    winner = counts[..., 1:].argmax(axis=2)
    found = np.take_along_axis(attributes.astype(np.int64), winner[..., None], axis=1)
    found[covered == 0] = IGNORED
    share = (covered / counts.sum(axis=2)).astype(np.float32)
    return share.reshape(images, rows, columns), found.reshape(images, rows, columns, 4)


def image_hashes(images: npt.NDArray[np.uint8]) -> list[str]:
    """Return the SHA-256 of height, width and pixels of each image in ``[N, H, W, 3]`` uint8."""
    start = f"{images.shape[1]}x{images.shape[2]}\n".encode()
    return [hashlib.sha256(start + np.ascontiguousarray(image).tobytes()).hexdigest() for image in images]
