"""A batch of scenes as arrays, and the pixels that each of its objects may cover.

All arithmetic operations of the renderer are elementwise operations that IEEE 754 rounds exactly (sums, products,
quotients, square roots), so that an image has the same bytes in every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fusion_bench.data.miniclevr.scenes.camera import Array, focal_length
from fusion_bench.data.miniclevr.scenes.scenes import COLORS, SHAPES, Scene, Thing

Size = tuple[int, int]

RGB = np.array(
    [
        [87, 87, 87],
        [173, 35, 35],
        [42, 75, 215],
        [29, 105, 20],
        [129, 74, 25],
        [129, 38, 192],
        [41, 208, 208],
        [255, 238, 51],
    ]
)
"""CLEVR's published colours, in the order of ``COLORS``."""

_NEAR = 0.5  # depth below which a projected bound is not used
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class SceneBatch:
    """``S`` scenes with ``O`` objects in total; objects are sorted by shape.

    Attributes:
        camera_location: ``[S, 3]`` camera locations.
        axes: ``[S, 3, 3]`` right, up and forward of each camera.
        lights: ``[S, 3, 3]`` places of key, fill and back light.
        scene: ``[O]`` index of the scene of each object.
        slot: ``[O]`` number of each object within its scene.
        shape: ``[O]`` index into ``SHAPES``, in ascending order.
        centre: ``[O, 3]`` centre of each object.
        radius: ``[O]`` half the height of each object.
        turn: ``[O, 2]`` cosine and sine of the rotation; spheres and cylinders are turned towards the camera.
        albedo: ``[O, 3]`` linear reflectance.
        metal: ``[O]`` bool, True for metal objects.
    """

    camera_location: Array
    axes: Array
    lights: Array
    scene: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int64]
    shape: npt.NDArray[np.int64]
    centre: Array
    radius: Array
    turn: Array
    albedo: Array
    metal: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.camera_location)

    @property
    def slices(self) -> dict[str, slice]:
        """The range of objects of each shape."""
        edges = np.searchsorted(self.shape, range(len(SHAPES) + 1)).tolist()
        return {name: slice(edges[i], edges[i + 1]) for i, name in enumerate(SHAPES)}

    def corners(self) -> Array:
        """Return the corners of an upright box around each object, ``[O, 8, 3]``."""
        cos, sin = self.turn[:, None, 0], self.turn[:, None, 1]
        x, y, z = np.moveaxis(_CORNERS, 1, 0)
        local = np.stack([cos * x - sin * y, sin * x + cos * y, np.broadcast_to(z, (len(cos), 8))], axis=2)
        corners: Array = self.centre[:, None] + self.radius[:, None, None] * local
        return corners

    def bounds(self, points: Array, size: Size, margin: float = 0.0) -> npt.NDArray[np.int64]:
        """Return pixel rectangles around the projections of each object's points.

        Args:
            points: points in world coordinates, ``[O, N, 3]``.
            size: height and width of the image.
            margin: pixels added on every side.

        Returns:
            ``[O, 4]``: first row, last row + 1, first column, last column + 1, clipped to the image. An object with a
            point beside or behind the camera gets the whole image.
        """
        offset = points - self.camera_location[self.scene][:, None]
        across, upward, depth = np.moveaxis(np.einsum("oij,onj->oni", self.axes[self.scene], offset), 2, 0)
        behind = depth.min(axis=1) < _NEAR
        scale = focal_length(size) / np.maximum(depth, _NEAR)
        x, y = size[1] / 2 + across * scale, size[0] / 2 - upward * scale
        box = np.stack(
            [
                np.floor(y.min(axis=1) - margin),
                np.ceil(y.max(axis=1) + margin),
                np.floor(x.min(axis=1) - margin),
                np.ceil(x.max(axis=1) + margin),
            ],
            axis=1,
        )
        box[behind] = (0, size[0], 0, size[1])
        limits = np.array([size[0], size[0], size[1], size[1]])
        clipped: npt.NDArray[np.int64] = np.clip(box, 0, limits).astype(np.int64)
        return clipped


def make_scene_batch(scenes: Sequence[Scene]) -> SceneBatch:
    """Convert scenes to a batch."""
    rows = [
        (number, slot, thing)
        for number, scene in enumerate(scenes)
        for slot, thing in enumerate(scene.things)
    ]
    rows.sort(key=lambda row: SHAPES.index(row[2].shape))
    owner = np.array([number for number, _, _ in rows], dtype=np.int64)
    axes = np.stack([scene.camera.axes for scene in scenes])
    things = [thing for _, _, thing in rows]
    return SceneBatch(
        camera_location=np.array([scene.camera.location for scene in scenes]),
        axes=axes,
        lights=np.array([scene.lights for scene in scenes]),
        scene=owner,
        slot=np.array([slot for _, slot, _ in rows], dtype=np.int64),
        shape=np.array([SHAPES.index(thing.shape) for thing in things], dtype=np.int64),
        centre=np.array([thing.coords for thing in things]).reshape(-1, 3),
        radius=np.array([thing.radius for thing in things]),
        turn=np.array([_turn(thing, axes[number]) for number, _, thing in rows]).reshape(-1, 2),
        albedo=RGB[[COLORS.index(thing.color) for thing in things]].reshape(-1, 3) / 255.0,
        metal=np.array([thing.material == "metal" for thing in things], dtype=np.bool_),
    )


def _turn(thing: Thing, axes: Array) -> tuple[float, float]:
    """Return cosine and sine of an object's rotation; spheres and cylinders face the camera, for tight bounds."""
    if thing.shape == "cube":
        return float(np.cos(thing.rotation)), float(np.sin(thing.rotation))
    return float(axes[0, 0]), float(axes[0, 1])


@dataclass(frozen=True, eq=False)
class ObjectPixelPairs:
    """All pairs of an object and a pixel that must be tested, ordered by object, row and column.

    Attributes:
        object: ``[N]`` object of each pair.
        pixel: ``[N]`` pixel of each pair, numbered through all scenes: ``(scene * H + y) * W + x``.
        column: ``[N]`` float32 ``x`` of each pair.
        rows: ``[2, R]`` object and ``y`` of each row of pixels in an object's rectangle.
        counts: ``[O]`` number of pairs of each object.
        row_counts: ``[R]`` number of pairs of each row.
    """

    object: Tensor
    pixel: Tensor
    column: Tensor
    rows: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    row_counts: npt.NDArray[np.int64]

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """The index of each object's first pair, ``[O + 1]``."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def of_objects(self, values: npt.NDArray[np.floating[Any]]) -> Tensor:
        """Repeat values of objects ``[K, O]`` for their pairs, as float32 ``[K, N]``."""
        return torch.from_numpy(np.repeat(values.astype(np.float32), self.counts, axis=1))

    def of_rows(self, values: npt.NDArray[np.float32]) -> Tensor:
        """Repeat values of rows ``[K, R]`` for their pairs, ``[K, N]``."""
        return torch.from_numpy(np.repeat(values, self.row_counts, axis=1))


def pair_objects_with_pixels(
    scene: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64], size: Size
) -> ObjectPixelPairs:
    """Return the pairs of each object with the pixels of its rectangle (`SceneBatch.bounds`).

    Args:
        scene: the scene of each object, ``[O]``.
        bounds: the rectangle of each object, ``[O, 4]``.
        size: height and width of the images.
    """
    height, width = size
    tall = np.maximum(bounds[:, 1] - bounds[:, 0], 0)
    wide = np.maximum(bounds[:, 3] - bounds[:, 2], 0)
    owner = np.repeat(np.arange(len(bounds)), tall)
    y = np.arange(len(owner)) + (bounds[:, 0] - (np.cumsum(tall) - tall))[owner]
    row_counts = wide[owner]
    # Within a row, x is the index of the pair plus a constant.
    shift = bounds[owner, 2] - (np.cumsum(row_counts) - row_counts)
    counts = tall * wide
    pairs = np.arange(counts.sum())
    column = pairs + np.repeat(shift, row_counts)
    return ObjectPixelPairs(
        object=torch.from_numpy(np.repeat(np.arange(len(bounds)), counts)),
        pixel=torch.from_numpy(pairs + np.repeat(shift + (scene[owner] * height + y) * width, row_counts)),
        column=torch.from_numpy(column.astype(np.float32)),
        rows=np.stack([owner, y]),
        counts=counts,
        row_counts=row_counts,
    )


def as_tensor(values: Array) -> Tensor:
    """Convert an array to a float32 tensor."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def take_last(values: Tensor, at: Tensor) -> Tensor:
    """Return ``values[..., at]``; this is several times faster than indexing."""
    return torch.index_select(values, -1, at)
