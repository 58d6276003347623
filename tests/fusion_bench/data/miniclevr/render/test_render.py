"""The ray caster agrees with geometry, and its images are the same in every batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fusion_bench.data.miniclevr.placement import SceneRecipe, draw_scenes
from fusion_bench.data.miniclevr.render.render import object_ids, render, visible_boxes, visible_masks
from fusion_bench.data.miniclevr.scenes.camera import Camera, focal_length
from fusion_bench.data.miniclevr.scenes.lights import DEFAULT_LIGHTS
from fusion_bench.data.miniclevr.scenes.scenes import RADII, Scene, Thing
from released_clevr import fitted_scene, released

SIZE = (64, 96)


def thing(shape: str, place: tuple[float, float], size: str = "large", **changes: Any) -> Thing:
    made = Thing(shape, size, "red", "rubber", (*place, RADII[size]), 0.0, (0, 0, 0.0))
    return replace(made, **changes)


def scene(*things: Thing) -> Scene:
    return Scene(0, things, Camera(), DEFAULT_LIGHTS)


def rays(size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return unit vectors ``[H, W, 3]`` through the centres of the pixels, from the camera's axes."""
    right, up, forward = Camera().axes
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    u, v = (x - size[1] / 2) / focal_length(size), (size[0] / 2 - y) / focal_length(size)
    through = forward + u[..., None] * right + v[..., None] * up
    return through / np.linalg.norm(through, axis=2, keepdims=True)


def inside(shape: str, offset: np.ndarray[Any, Any], angle: float) -> np.ndarray[Any, Any]:
    """Return True for offsets ``[..., 3]`` from the centre, in radii, inside an object turned by ``angle``."""
    x = np.cos(angle) * offset[..., 0] + np.sin(angle) * offset[..., 1]
    y = np.cos(angle) * offset[..., 1] - np.sin(angle) * offset[..., 0]
    z = offset[..., 2]
    if shape == "sphere":
        return x * x + y * y + z * z < 1
    if shape == "cylinder":
        return (x * x + y * y < 1) & (abs(z) < 1)
    return np.maximum(np.maximum(abs(x), abs(y)), abs(z)) < 1


@pytest.mark.parametrize("shape", ["sphere", "cube", "cylinder"])
def test_ids_are_those_of_marching_along_each_ray(shape: str) -> None:
    """An independent method: small steps along each ray, with a test whether the point is inside."""
    solid = thing(shape, (0.6, -0.4), rotation=0.7)
    ids = object_ids([scene(solid)], SIZE)[0]
    steps = np.arange(6, 14, 0.01)
    points = np.array(Camera().location) + steps[:, None, None, None] * rays(SIZE)[None]
    hit = inside(shape, (points - solid.coords) / solid.radius, solid.rotation).any(axis=0)
    # Rays that graze within a step's length may differ.
    assert (hit != (ids == 0)).mean() < 0.001
    assert hit.sum() > 100


def test_the_nearer_object_hides_the_farther() -> None:
    toward = np.array(Camera().directions["front"][:2])
    near, far = (thing("sphere", tuple(step * toward)) for step in (1.5, -0.5))
    both, alone = object_ids([scene(near, far), scene(near)], SIZE)
    np.testing.assert_array_equal(both == 0, alone == 0)
    assert 0 < (both == 1).sum() < (object_ids([scene(far)], SIZE) == 0).sum()


def test_a_small_sphere_covers_the_disc_of_its_perspective_projection() -> None:
    ball = thing("sphere", (0.0, 0.0), "small")
    size = (320, 480)
    area = (object_ids([scene(ball)], size) == 0).sum()
    offset = np.array(ball.coords) - Camera().location
    sine = ball.radius / np.linalg.norm(offset)
    depth = offset @ Camera().axes[2]
    # The ellipse in which a cone around a ray near the optical axis intersects the image plane.
    expected = np.pi * (focal_length(size) * sine / np.sqrt(1 - sine**2)) ** 2
    assert area == pytest.approx(expected * (np.linalg.norm(offset) / depth) ** 3, rel=0.01)


def test_masks_and_boxes_follow_from_ids() -> None:
    ids = np.full((1, 4, 6), -1, dtype=np.int8)
    ids[0, 1:3, 2:5] = 0
    ids[0, 2, 4] = 1
    assert visible_masks(ids, 3)[0].sum(axis=(1, 2)).tolist() == [5, 1, 0]
    assert visible_boxes(ids, 3)[0].tolist() == [[2, 1, 3, 2], [4, 2, 1, 1], [0, 0, 0, 0]]


def test_an_image_has_the_same_bytes_in_every_batch() -> None:
    scenes = draw_scenes(SceneRecipe(3, "train", SIZE), range(5))
    together = render(scenes, SIZE)
    for number in (0, 3, 4):
        np.testing.assert_array_equal(render(scenes[number : number + 1], SIZE)[0], together[number])
    np.testing.assert_array_equal(render(scenes[::-1], SIZE)[::-1], together)


def test_attributes_are_visible() -> None:
    """Each attribute changes the image at the object; a rotation changes a cube and not a sphere."""
    solid = thing("cube", (0.0, 0.0))
    changes: list[dict[str, Any]] = [
        {"color": "blue"},
        {"material": "metal"},
        {"rotation": 0.6},
        {"shape": "cylinder"},
    ]
    first, *others = render([scene(solid), *(scene(replace(solid, **change)) for change in changes)], SIZE)
    middle = (slice(24, 34), slice(40, 56))
    for other in others:
        assert np.abs(first[middle].astype(int) - other[middle]).mean() > 4
    ball = thing("sphere", (0.0, 0.0))
    one, turned = render([scene(ball), scene(replace(ball, rotation=0.6))], SIZE)
    np.testing.assert_array_equal(one, turned)


def test_objects_cast_shadows_and_the_empty_ground_has_none() -> None:
    empty, one = render([scene(), scene(thing("cylinder", (0.0, 0.0)))], SIZE)
    ground = object_ids([scene(thing("cylinder", (0.0, 0.0)))], SIZE)[0] < 0
    darker = empty.astype(int).mean(axis=2) - one.mean(axis=2)
    assert darker[ground].max() > 15
    away = np.zeros(SIZE, dtype=bool)
    away[:8] = away[-4:] = True
    assert abs(darker[away]).max() <= 1


def test_shadows_are_opposite_their_light() -> None:
    """With all lights on one side, the ground on the other side of an object is darker."""
    right = np.array(Camera().directions["right"])
    light = tuple(5 * right + [0, 0, 4])
    lit = Scene(0, (thing("cube", (0.0, 0.0)),), Camera(), (light, light, light))
    images = render([lit, replace(lit, things=())], SIZE).astype(int).mean(axis=3)
    darker = images[1] - images[0]
    left, opposite = darker[36:40, 20:38].mean(), darker[36:40, 60:78].mean()
    assert left > opposite + 10


@pytest.mark.pack
def test_released_scenes_look_like_their_released_images(packs: Any) -> None:
    """The mean colours of each object and of the ground are near those of the same pixels in the released image."""
    pack = packs / "clevr_real_sample"
    for record in released(pack, "val")[10:20]:
        with Image.open(pack / "images" / "val" / record["image_filename"]) as file:
            real = np.asarray(file.convert("RGB")).astype(float)
        made = fitted_scene(record)
        drawn = render([made], real.shape[:2])[0].astype(float)
        ids = object_ids([made], real.shape[:2])[0]
        for number in range(-1, len(made.things)):
            difference = np.abs(real[ids == number].mean(axis=0) - drawn[ids == number].mean(axis=0))
            assert difference.mean() < (10 if number < 0 else 32), (record["image_filename"], number)
