"""Dense attribute recognition, the pretext task that trains a backbone where no pretrained weights are available.

For every position of a grid over the image, the task is to predict whether an object is there and, if so, its shape,
size, colour and material. The images come from a domain of scenes that no split uses.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

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

_AT_ONCE = 500  # images whose pixels are counted together: 55 MB of numbers at 96x144


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


@dataclass(frozen=True, eq=False)
class PositionTargets:
    """The targets of the ``h`` x ``w`` positions of a grid over ``N`` images.

    The object of a position is the one that covers most of its pixels, regardless of the share of the ground.

    Attributes:
        share: ``[N, h, w]`` float32, the share of the position's pixels that show any object.
        attributes: ``[N, h, w, 4]`` int64, the attributes of the position's object, `IGNORED` where there is none.
        part: ``[N, h, w]`` float32, the share of the visible pixels of the position's object that lie in it.
        peak: ``[N, h, w]`` bool, whether no other position shows more of the position's object: at most one
            position of each object, and none of an object that is nowhere the one with most pixels.
    """

    share: npt.NDArray[np.float32]
    attributes: npt.NDArray[np.int64]
    part: npt.NDArray[np.float32]
    peak: npt.NDArray[np.bool_]


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
) -> PositionTargets:
    """Return the targets of each position of a grid.

    Args:
        ids: ``[N, H, W]``; H and W are divided into grid positions whose sizes differ by at most one pixel.
        attributes: ``[N, K, 4]``.
        grid: number of rows and columns of positions, ``(h, w)``.
    """
    parts = [
        _position_targets(ids[start : start + _AT_ONCE], attributes[start : start + _AT_ONCE], grid)
        for start in range(0, len(ids), _AT_ONCE)
    ]
    return PositionTargets(
        **{
            item.name: np.concatenate([getattr(part, item.name) for part in parts])
            for item in fields(PositionTargets)
        }
    )


def _position_targets(
    ids: npt.NDArray[np.int8], attributes: npt.NDArray[np.int8], grid: tuple[int, int]
) -> PositionTargets:
    images, height, width = ids.shape
    things, (rows, columns) = attributes.shape[1], grid
    position = (np.arange(height) * rows // height)[:, None] * columns + np.arange(width) * columns // width
    positions = rows * columns
    # One count per (image, position, object), the ground first.
    key = (np.arange(images)[:, None, None] * positions + position) * (things + 1) + ids + 1
    counts = np.bincount(key.ravel(), minlength=images * positions * (things + 1))
    counts = counts.reshape(images, positions, things + 1)
    of_things = counts[..., 1:]
    covered, winner = of_things.sum(axis=2), of_things.argmax(axis=2)[..., None]
    found = np.take_along_axis(attributes.astype(np.int64), winner, axis=1)
    found[covered == 0] = IGNORED
    visible = np.take_along_axis(of_things.sum(axis=1), winner[..., 0], axis=1)
    pixels = np.take_along_axis(of_things, winner, axis=2)[..., 0]
    peaks = np.take_along_axis(of_things.argmax(axis=1), winner[..., 0], axis=1) == np.arange(positions)
    return PositionTargets(
        share=(covered / counts.sum(axis=2)).astype(np.float32).reshape(images, rows, columns),
        attributes=found.reshape(images, rows, columns, 4),
        part=(pixels / np.maximum(visible, 1)).astype(np.float32).reshape(images, rows, columns),
        peak=(peaks & (covered > 0)).reshape(images, rows, columns),
    )


def image_hashes(images: npt.NDArray[np.uint8]) -> list[str]:
    """Return a hash of height, width and pixels of each image: the first 16 hexadecimal digits of a SHA-256.

    Args:
        images: ``[N, H, W, 3]`` uint8.
    """
    start = f"{images.shape[1]}x{images.shape[2]}\n".encode()
    return [
        hashlib.sha256(start + np.ascontiguousarray(image).tobytes()).hexdigest()[:16] for image in images
    ]
