"""Scenes keep CLEVR's rules and depend only on their recipe and number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusion_bench.data.miniclevr import placement
from fusion_bench.data.miniclevr.placement import SceneRecipe, draw_scene, draw_scenes
from fusion_bench.data.miniclevr.render.render import object_ids, visible_masks
from fusion_bench.data.miniclevr.scenes.scenes import COLORS, MATERIALS, SHAPES, SIZES, Scene
from fusion_bench.errors import FusionBenchError

RECIPE = SceneRecipe(0, "train", (64, 96))


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return draw_scenes(RECIPE, range(120))


def test_a_scene_depends_on_recipe_and_number_alone(scenes: list[Scene]) -> None:
    assert draw_scenes(RECIPE, [7, 3]) == [scenes[7], scenes[3]]
    assert draw_scene(RECIPE, 119) == scenes[119]
    for other in (replace(RECIPE, seed=1), replace(RECIPE, domain="val")):
        assert draw_scene(other, 3) != scenes[3]


def test_objects_keep_their_distance_and_are_not_aligned(scenes: list[Scene]) -> None:
    for scene in scenes:
        for number, one in enumerate(scene.things):
            assert max(abs(one.coords[0]), abs(one.coords[1])) <= 3
            assert one.coords[2] == one.radius
            for other in scene.things[:number]:
                offset = np.array(one.coords[:2]) - other.coords[:2]
                assert np.hypot(*offset) - one.radius - other.radius >= 0.25 - 1e-9
                for name in ("right", "behind"):
                    assert abs(offset @ scene.directions[name][:2]) >= 0.4 - 1e-9


def test_every_object_is_clearly_visible(scenes: list[Scene]) -> None:
    ids = object_ids(scenes, RECIPE.size)
    seen = visible_masks(ids, 10).sum(axis=(2, 3))
    for scene, pixels in zip(scenes, seen, strict=True):
        assert (pixels[: len(scene.things)] >= 16).all()
        assert (pixels[len(scene.things) :] == 0).all()


def test_every_number_of_objects_and_every_attribute_occurs(scenes: list[Scene]) -> None:
    assert {len(scene.things) for scene in scenes} == set(range(3, 11))
    things = [thing for scene in scenes for thing in scene.things]
    for values, of in ((SHAPES, "shape"), (COLORS, "color"), (SIZES, "size"), (MATERIALS, "material")):
        counts = [sum(getattr(thing, of) == value for thing in things) for value in values]
        assert min(counts) > 0.6 * len(things) / len(values), of


def test_pixel_coordinates_are_at_the_visible_object(scenes: list[Scene]) -> None:
    ids = object_ids(scenes, RECIPE.size)
    for scene, seen in zip(scenes, ids, strict=True):
        nearest = min(range(len(scene.things)), key=lambda number: scene.things[number].pixel[2])
        x, y, _ = scene.things[nearest].pixel
        if 0 <= x < 96 and 0 <= y < 64:
            assert seen[y, x] == nearest


def test_too_small_an_image_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_ATTEMPTS", 20)
    with pytest.raises(FusionBenchError, match="use larger images or fewer objects"):
        draw_scenes(SceneRecipe(0, "train", (2, 2), (5, 5)), range(1))


def test_more_objects_than_a_scene_has_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_ATTEMPTS", 5)
    with pytest.raises(FusionBenchError, match="no room for 60 objects"):
        draw_scene(replace(RECIPE, things=(60, 60)), 0)
