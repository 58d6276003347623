"""Scenes of the released CLEVR with the camera that took their pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion_bench.data.miniclevr.scenes.camera import Camera
from fusion_bench.data.miniclevr.scenes.lights import USUAL_LAMPS
from fusion_bench.data.miniclevr.scenes.scenes import Scene, Thing

SIZE = (320, 480)


def released(pack: Path, split: str) -> list[dict[str, Any]]:
    """Entries of a released scenes file."""
    scenes: list[dict[str, Any]] = json.loads((pack / "scenes" / f"CLEVR_{split}_scenes.json").read_text())[
        "scenes"
    ]
    return scenes


def fitted_scene(record: Mapping[str, Any]) -> Scene:
    """A released scene with the camera, found by Gauss-Newton, that puts its objects on their pixels."""
    points = np.array([entry["3d_coords"] for entry in record["objects"]])
    pixels = np.array([entry["pixel_coords"][:2] for entry in record["objects"]])

    def off(place: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (Camera(tuple(place)).project(points, SIZE)[:, :2] - pixels).ravel()

    place = np.array(Camera().location)
    for _ in range(8):
        slopes = np.stack(
            [(off(place + 1e-4 * axis) - off(place - 1e-4 * axis)) / 2e-4 for axis in np.eye(3)], axis=1
        )
        place = place - np.linalg.lstsq(slopes, off(place), rcond=None)[0]
    things = tuple(
        Thing(
            entry["shape"], entry["size"], entry["color"], entry["material"],
            tuple(entry["3d_coords"]), entry["rotation"], tuple(entry["pixel_coords"]),
        )
        for entry in record["objects"]
    )  # fmt: skip
    return Scene(record["image_index"], things, Camera(tuple(place)), USUAL_LAMPS)
