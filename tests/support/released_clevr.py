"""Scenes of the released CLEVR with fitted cameras."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion_bench.data.miniclevr.scenes.camera import Camera
from fusion_bench.data.miniclevr.scenes.lights import DEFAULT_LIGHTS
from fusion_bench.data.miniclevr.scenes.scenes import Scene, Thing

SIZE = (320, 480)


def released(pack: Path, split: str) -> list[dict[str, Any]]:
    """Return the entries of a released scenes file."""
    scenes: list[dict[str, Any]] = json.loads((pack / "scenes" / f"CLEVR_{split}_scenes.json").read_text())[
        "scenes"
    ]
    return scenes


def fitted_scene(record: Mapping[str, Any]) -> Scene:
    """Return a released scene with the camera that projects its objects to their pixels, fitted by Gauss-Newton."""
    points = np.array([entry["3d_coords"] for entry in record["objects"]])
    pixels = np.array([entry["pixel_coords"][:2] for entry in record["objects"]])

    def residual(location: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (Camera(tuple(location)).project(points, SIZE)[:, :2] - pixels).ravel()

    location = np.array(Camera().location)
    for _ in range(8):
        jacobian = np.stack(
            [
                (residual(location + 1e-4 * axis) - residual(location - 1e-4 * axis)) / 2e-4
                for axis in np.eye(3)
            ],
            axis=1,
        )
        location = location - np.linalg.lstsq(jacobian, residual(location), rcond=None)[0]
    things = tuple(
        Thing(
            entry["shape"], entry["size"], entry["color"], entry["material"],
            tuple(entry["3d_coords"]), entry["rotation"], tuple(entry["pixel_coords"]),
        )
        for entry in record["objects"]
    )  # fmt: skip
    return Scene(record["image_index"], things, Camera(tuple(location)), DEFAULT_LIGHTS)
