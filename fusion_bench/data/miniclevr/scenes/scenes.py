"""What stands in a miniclevr scene, in CLEVR's words, and how things lie relative to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_bench.data.miniclevr.scenes.camera import Array, Camera, Point
from fusion_bench.data.programs import ATTRIBUTES, RELATIONS

SHAPES, SIZES = ATTRIBUTES["shape"], ATTRIBUTES["size"]
COLORS, MATERIALS = ATTRIBUTES["color"], ATTRIBUTES["material"]

RADII: Mapping[str, float] = {"small": 0.35, "large": 0.7}
"""Half the edge of a cube, the radius of a sphere, the radius and half the height of a cylinder."""

_NEARLY_EQUAL = 0.2


@dataclass(frozen=True)
class Thing:
    """One object that stands on the ground.

    Attributes:
        shape: ``cube``, ``sphere`` or ``cylinder``.
        size: ``small`` or ``large``.
        color: one of CLEVR's eight.
        material: ``rubber`` or ``metal``.
        coords: its centre in the world.
        rotation: about the vertical axis, anticlockwise seen from above. CLEVR draws it from 0 to 360 and
            then turns by as many radians, as its released pictures show; so do these.
        pixel: where its centre falls in the picture: whole pixels from the upper left corner, then depth.
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
        """Half its height."""
        return RADII[self.size]


@dataclass(frozen=True)
class Scene:
    """Things on the ground before a camera.

    Attributes:
        index: its number within the split.
        things: what stands there.
        camera: who looks.
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
    """CLEVR's adjacency lists: ``result["left"][i]`` are the numbers of the things left of thing ``i``."""
    return adjacency([thing.coords for thing in scene.things], scene.directions)


def adjacency(
    coords: Sequence[Sequence[float]], directions: Mapping[str, Sequence[float]]
) -> dict[str, list[list[int]]]:
    """`relationships` of centres ``[N, 3]`` under the named unit vectors.

    Thing ``j`` is left of ``i`` if its offset from ``i`` reaches more than 0.2 along the direction "left"
    (Johnson et al., CLEVR, CVPR 2017; the released scenes agree without exception).
    """
    points: Array = np.asarray(coords, dtype=np.float64).reshape(-1, 3)
    found: dict[str, list[list[int]]] = {}
    for name in RELATIONS:
        along = points @ np.asarray(directions[name], dtype=np.float64)
        beyond = along[None, :] - along[:, None] > _NEARLY_EQUAL
        found[name] = [np.flatnonzero(row).tolist() for row in beyond]
    return found
