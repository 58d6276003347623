"""The objects of a miniclevr scene in CLEVR's words, and the relations between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_bench.data.miniclevr.scenes.camera import Array, Camera, Point
from fusion_bench.data.programs import ATTRIBUTES, RELATIONS

SHAPES, SIZES = ATTRIBUTES["shape"], ATTRIBUTES["size"]
COLORS, MATERIALS = ATTRIBUTES["color"], ATTRIBUTES["material"]

RADII: Mapping[str, float] = {"small": 0.35, "large": 0.7}
"""Half the edge of a cube; the radius of a sphere; the radius and half the height of a cylinder."""

_LEAST_OFFSET = 0.2


@dataclass(frozen=True)
class Thing:
    """One object on the ground.

    Attributes:
        shape: ``cube``, ``sphere`` or ``cylinder``.
        size: ``small`` or ``large``.
        color: one of CLEVR's eight.
        material: ``rubber`` or ``metal``.
        coords: its centre in world coordinates.
        rotation: angle about the vertical axis, counterclockwise seen from above. CLEVR draws a number from 0 to 360
            and uses it as radians, as its released images show; this data set does the same.
        pixel: the projection of its centre: x and y in whole pixels from the upper left corner, then the depth.
    """

    shape: str
    size: str
    color: str
    material: str
    coords: Point
    rotation: float
    pixel: tuple[int, int, float]

    @property
    def radius(self) -> float:
        """Half the height of the object."""
        return RADII[self.size]


@dataclass(frozen=True)
class Scene:
    """Objects on the ground, a camera and three lights.

    Attributes:
        index: number of the scene in its split.
        things: the objects.
        camera: the camera.
        lights: places of the key, fill and back light.
    """

    index: int
    things: tuple[Thing, ...]
    camera: Camera
    lights: tuple[Point, Point, Point]

    @property
    def directions(self) -> Mapping[str, Point]:
        """CLEVR's six unit vectors by name."""
        return self.camera.directions


def relationships(scene: Scene) -> dict[str, list[list[int]]]:
    """Return CLEVR's adjacency lists: ``result["left"][i]`` are the numbers of the objects left of object ``i``."""
    return adjacency([thing.coords for thing in scene.things], scene.directions)


def adjacency(
    coords: Sequence[Sequence[float]], directions: Mapping[str, Sequence[float]]
) -> dict[str, list[list[int]]]:
    """Return the adjacency lists of `relationships` for centres ``[N, 3]`` and named unit vectors.

    Object ``j`` is left of ``i`` if its offset from ``i`` along the direction "left" is greater than 0.2 (Johnson et
    al., CLEVR, CVPR 2017; all released scenes agree).
    """
    points: Array = np.asarray(coords, dtype=np.float64).reshape(-1, 3)
    found: dict[str, list[list[int]]] = {}
    for name in RELATIONS:
        along = points @ np.asarray(directions[name], dtype=np.float64)
        beyond = along[None, :] - along[:, None] > _LEAST_OFFSET
        found[name] = [np.flatnonzero(row).tolist() for row in beyond]
    return found
