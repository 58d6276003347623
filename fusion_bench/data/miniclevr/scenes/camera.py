"""CLEVR's camera: where it stands, what its ground-plane directions are, where a point falls in the picture.

World axes: x and y span the ground, z points up; a unit is CLEVR's. Pixel coordinates are continuous, x to
the right and y down from the upper left corner of the picture, so that pixel ``i`` covers ``[i, i + 1)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Point = tuple[float, float, float]
Array = npt.NDArray[np.float64]

USUAL_LOCATION: Point = (7.48113, -6.50764, 5.34367)
"""Where CLEVR's camera stands before jitter; the released scenes' projections fit it to half a pixel."""

JITTER = 0.5
"""Largest shift of the camera along each axis."""

_LENS, _SENSOR = 35.0, 32.0  # millimetres; the longer side of the picture spans the sensor


def focal_length(size: tuple[int, int]) -> float:
    """Focal length in pixels of a picture of ``(height, width)``."""
    return _LENS / _SENSOR * max(size)


@dataclass(frozen=True)
class Camera:
    """A camera at ``location`` that looks at the origin, with its right side level."""

    location: Point = USUAL_LOCATION

    @cached_property
    def axes(self) -> Array:
        """``[3, 3]``: the unit vectors right, up and forward of the picture, one a row."""
        forward = -np.asarray(self.location) / np.linalg.norm(self.location)
        right = np.array([forward[1], -forward[0], 0.0])
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(right, forward), forward])

    @cached_property
    def directions(self) -> Mapping[str, Point]:
        """CLEVR's six unit vectors by name: the camera's own, laid onto the ground, and the vertical."""
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
        """Where world points fall in a picture of ``(height, width)``.

        Args:
            points: ``[N, 3]``.
            size: the picture's height and width.

        Returns:
            ``[N, 3]``: x and y in pixels, and the depth along the line of sight in world units.
        """
        across, upward, depth = self.axes @ (np.asarray(points, dtype=np.float64) - self.location).T
        focal = focal_length(size)
        return np.stack(
            [size[1] / 2 + focal * across / depth, size[0] / 2 - focal * upward / depth, depth], axis=1
        )
