"""Relations and camera agree with the scenes that CLEVR released."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_bench.data.miniclevr.scenes.camera import CAMERA_JITTER, DEFAULT_LOCATION, Camera
from fusion_bench.data.miniclevr.scenes.scenes import RADII, Scene, Thing, adjacency, relationships
from released_clevr import SIZE, fitted_scene, released


def released_scenes(pack: Path) -> list[dict[str, Any]]:
    return [*released(pack, "train"), *released(pack, "val")]


@pytest.mark.pack
def test_relations_of_all_released_scenes_are_reproduced(packs: Any) -> None:
    scenes = released_scenes(packs / "clevr_real_sample")
    assert len(scenes) == 200
    for scene in scenes:
        coords = [thing["3d_coords"] for thing in scene["objects"]]
        assert adjacency(coords, scene["directions"]) == scene["relationships"]


@pytest.mark.pack
def test_objects_stand_on_the_ground_at_the_released_heights(packs: Any) -> None:
    for scene in released_scenes(packs / "clevr_real_sample"):
        for thing in scene["objects"]:
            assert thing["3d_coords"][2] == pytest.approx(RADII[thing["size"]], abs=1e-6)


@pytest.mark.pack
def test_camera_is_that_of_the_released_scenes(packs: Any) -> None:
    """Released pixel coordinates are integers, so the best possible agreement is half a pixel."""
    fitted = [(scene, fitted_scene(scene)) for scene in released_scenes(packs / "clevr_real_sample")]
    for record, scene in fitted:
        expected = np.array([entry["pixel_coords"] for entry in record["objects"]])
        off = scene.camera.project([thing.coords for thing in scene.things], SIZE) - expected
        assert np.abs(off[:, :2]).max() < 0.7
        assert np.abs(off[:, 2]).max() < 0.2
        # CLEVR takes its directions from the camera without jitter; miniclevr from the jittered camera.
        for name, vector in record["directions"].items():
            np.testing.assert_allclose(Camera().directions[name], vector, atol=1e-4)
    shift = np.array([scene.camera.location for _, scene in fitted]) - DEFAULT_LOCATION
    assert np.abs(np.median(shift, axis=0)).max() < 0.12
    assert np.abs(shift).max() < CAMERA_JITTER + 0.15


def test_the_origin_is_in_the_middle_of_every_image() -> None:
    for size in ((64, 96), (320, 480), (50, 30)):
        x, y, depth = Camera().project([[0, 0, 0]], size)[0]
        assert (x, y) == pytest.approx((size[1] / 2, size[0] / 2))
        assert depth == pytest.approx(np.linalg.norm(Camera().location))


def test_an_object_is_left_of_another_if_it_appears_left_of_it() -> None:
    camera = Camera()
    right = np.array(camera.directions["right"])
    near, far = (
        Thing("cube", "small", "red", "metal", tuple(step * right), 0.0, (0, 0, 0.0)) for step in (0, 1)
    )
    scene = Scene(0, (near, far), camera, ((0.0, 0.0, 1.0),) * 3)
    assert relationships(scene)["right"] == [[1], []]
    assert relationships(scene)["left"] == [[], [0]]
    assert relationships(scene)["front"] == relationships(scene)["behind"] == [[], []]
    across = camera.project([near.coords, far.coords], (64, 96))[:, 0]
    assert across[1] > across[0]
