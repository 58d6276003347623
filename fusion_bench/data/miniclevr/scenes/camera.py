"""CLEVR's camera: its location, its directions on the ground plane, and the projection of points.

World axes: x and y span the ground, z points up; units are CLEVR's. Pixel coordinates are continuous, x to the right
and y down from the upper left corner of the image, so that pixel ``i`` covers ``[i, i + 1)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Point = tuple[float, float, float]
Array = npt.NDArray[np.float64]

DEFAULT_LOCATION: Point = (7.48113, -6.50764, 5.34367)
"""The location of CLEVR's camera without jitter; it fits the projections of the released scenes to half a pixel."""

CAMERA_JITTER = 0.5
"""The greatest shift of the camera along each axis."""

_LENS, _SENSOR = 35.0, 32.0  # millimetres; the longer side of the image spans the sensor


def focal_length(size: tuple[int, int]) -> float:
    """Return the focal length in pixels for an image of ``(height, width)``."""
    return _LENS / _SENSOR * max(size)


@dataclass(frozen=True)
class Camera:
    """A camera at ``location`` that looks at the origin, with a horizontal right axis."""

    location: Point = DEFAULT_LOCATION

    @cached_property
    def axes(self) -> Array:
        """The unit vectors right, up and forward of the camera, one per row: ``[3, 3]``."""
        forward = -np.asarray(self.location) / np.linalg.norm(self.location)
        right = np.array([forward[1], -forward[0], 0.0])
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(right, forward), forward])

    @cached_property
    def directions(self) -> Mapping[str, Point]:
        """CLEVR's six unit vectors by name: the camera's directions on the ground plane, and above and below."""
        right = self.axes[0]
        behind = np.array([-right[1], right[0], 0.0])
        up = np.array([0.0, 0.0, 1.0])
        vectors = {
            "right": right,
            "behind": behind,
            "above": up,
            "below": -up,
            "left": -right,
            "front": -behind,
        }
        return {name: (float(v[0]), float(v[1]), float(v[2])) for name, v in vectors.items()}

    def project(self, points: npt.ArrayLike, size: tuple[int, int]) -> Array:
        """Project world points to an image.

        Args:
            points: ``[N, 3]`` in world units.
            size: height and width of the image in pixels.

        Returns:
            ``[N, 3]``: x and y in pixels, and the depth along the line of sight in world units.
        """
        across, upward, depth = self.axes @ (np.asarray(points, dtype=np.float64) - self.location).T
        focal = focal_length(size)
        return np.stack(
            [size[1] / 2 + focal * across / depth, size[0] / 2 - focal * upward / depth, depth], axis=1
        )
