"""A batch of scenes as tensors, and which pixels each of its objects can touch.

Every arithmetic operation that pictures depend on is an elementwise one that IEEE 754 rounds exactly (sums,
products, quotients, square roots), so that a picture has the same bytes in whatever batch it is made.
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

_NEAR = 0.5  # depth before which a projected bound is not trusted
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class SceneBatch:
    """``S`` scenes with ``O`` objects in all, objects sorted by shape.

    Attributes:
        eye: ``[S, 3]`` camera locations.
        axes: ``[S, 3, 3]`` right, up and forward of each camera.
        lights: ``[S, 3, 3]`` places of key, fill and back light.
        scene: ``[O]`` scene of each object.
        slot: ``[O]`` number of each object within its scene.
        shape: ``[O]`` index into ``SHAPES``, ascending.
        centre: ``[O, 3]``.
        radius: ``[O]``.
        turn: ``[O, 2]`` cosine and sine of the rotation; spheres and cylinders face their camera.
        albedo: ``[O, 3]`` linear reflectance.
        metal: ``[O]`` bool.
    """

    eye: Array
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
        return len(self.eye)

    @property
    def slices(self) -> dict[str, slice]:
        """Which objects are of each shape."""
        edges = np.searchsorted(self.shape, range(len(SHAPES) + 1)).tolist()
        return {name: slice(edges[i], edges[i + 1]) for i, name in enumerate(SHAPES)}

    def corners(self) -> Array:
        """``[O, 8, 3]``: corners of an upright box around each object."""
        cos, sin = self.turn[:, None, 0], self.turn[:, None, 1]
        x, y, z = np.moveaxis(_CORNERS, 1, 0)
        local = np.stack([cos * x - sin * y, sin * x + cos * y, np.broadcast_to(z, (len(cos), 8))], axis=2)
        corners: Array = self.centre[:, None] + self.radius[:, None, None] * local
        return corners

    def bounds(self, points: Array, size: Size, margin: float = 0.0) -> npt.NDArray[np.int64]:
        """Pixel rectangles around the projections of points that belong to objects.

        Args:
            points: ``[O, N, 3]``.
            size: height and width of the picture.
            margin: pixels added on every side.

        Returns:
            ``[O, 4]``: first row, last row + 1, first column, last column + 1, within the picture. An
            object with a point beside or behind the camera gets the whole picture.
        """
        offset = points - self.eye[self.scene][:, None]
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
    """Put scenes into tensors."""
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
        eye=np.array([scene.camera.location for scene in scenes]),
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
    """Bodies of revolution are turned to the camera, where their bounds are tightest."""
    if thing.shape == "cube":
        return float(np.cos(thing.rotation)), float(np.sin(thing.rotation))
    return float(axes[0, 0]), float(axes[0, 1])


@dataclass(frozen=True, eq=False)
class Pairs:
    """Every (object, pixel) worth a test, ordered by object, then row, then column.

    Attributes:
        object: ``[N]`` object of each pair.
        pixel: ``[N]`` pixel of each pair, numbered through all scenes: ``(scene * H + y) * W + x``.
        column: ``[N]`` float32 ``x`` of each pair.
        rows: ``[2, R]`` object and ``y`` of each touched row of pixels.
        counts: ``[O]`` pairs of each object.
        row_counts: ``[R]`` pairs of each row.
    """

    object: Tensor
    pixel: Tensor
    column: Tensor
    rows: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    row_counts: npt.NDArray[np.int64]

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """``[O + 1]`` where each object's pairs begin."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def of_objects(self, values: npt.NDArray[np.floating[Any]]) -> Tensor:
        """``[K, O]`` values of objects as float32 ``[K, N]`` of their pairs."""
        return torch.from_numpy(np.repeat(values.astype(np.float32), self.counts, axis=1))

    def of_rows(self, values: npt.NDArray[np.float32]) -> Tensor:
        """``[K, R]`` values of rows as ``[K, N]`` of their pairs."""
        return torch.from_numpy(np.repeat(values, self.row_counts, axis=1))


def pair_up(scene: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64], size: Size) -> Pairs:
    """Spread objects' rectangles (`Stage.bounds`) over their pixels.

    Args:
        scene: ``[O]`` scene of each object.
        bounds: ``[O, 4]``.
        size: height and width of the pictures.
    """
    height, width = size
    tall = np.maximum(bounds[:, 1] - bounds[:, 0], 0)
    wide = np.maximum(bounds[:, 3] - bounds[:, 2], 0)
    owner = np.repeat(np.arange(len(bounds)), tall)
    y = np.arange(len(owner)) + (bounds[:, 0] - (np.cumsum(tall) - tall))[owner]
    row_counts = wide[owner]
    # Within a row, x is the pair's number but for a shift.
    shift = bounds[owner, 2] - (np.cumsum(row_counts) - row_counts)
    counts = tall * wide
    pairs = np.arange(counts.sum())
    column = pairs + np.repeat(shift, row_counts)
    return Pairs(
        object=torch.from_numpy(np.repeat(np.arange(len(bounds)), counts)),
        pixel=torch.from_numpy(pairs + np.repeat(shift + (scene[owner] * height + y) * width, row_counts)),
        column=torch.from_numpy(column.astype(np.float32)),
        rows=np.stack([owner, y]),
        counts=counts,
        row_counts=row_counts,
    )


def as_tensor(values: Array) -> Tensor:
    """float32 tensor of double-precision values."""
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def gathered(values: Tensor, at: Tensor) -> Tensor:
    """``values[..., at]``, several times faster than indexing."""
    return torch.index_select(values, -1, at)
