"""Pretext images differ from those of all splits; their positions have the right targets."""

from __future__ import annotations

import numpy as np

from fusion_bench.data.miniclevr.placement import SceneRecipe, draw_scenes
from fusion_bench.data.miniclevr.pretext import (
    ATTRIBUTE_NAMES,
    ATTRIBUTE_VALUES,
    DOMAIN,
    image_hashes,
    position_targets,
    pretext_images,
)
from fusion_bench.data.miniclevr.render.render import render

SIZE = (32, 48)


def test_a_position_belongs_to_the_object_that_covers_most_of_it() -> None:
    ids = np.full((1, 4, 4), -1, dtype=np.int8)
    ids[0, 0, :2] = 1
    ids[0, 1, 0] = 0
    ids[0, 2:, 2:] = 0
    attributes = np.array([[[2, 1, 7, 0], [0, 0, 3, 1], [-1, -1, -1, -1]]], dtype=np.int8)
    found = position_targets(ids, attributes, (2, 2))
    assert found.share[0].tolist() == [[0.75, 0.0], [0.0, 1.0]]
    assert found.attributes[0, 0].tolist() == [[0, 0, 3, 1], [-1, -1, -1, -1]]
    assert found.attributes[0, 1].tolist() == [[-1, -1, -1, -1], [2, 1, 7, 0]]


def test_each_object_is_divided_among_its_positions_and_has_one_peak() -> None:
    ids = np.full((1, 4, 8), -1, dtype=np.int8)
    ids[0, :2] = 0  # four positions of four pixels
    ids[0, 2:, 6:] = 0  # a fifth one
    ids[0, 0, 2] = 1  # nowhere the object with most pixels
    ids[0, 2:, :3] = 2  # four pixels in one position, two in the next
    targets = position_targets(ids, np.zeros((1, 3, 4), dtype=np.int8), (2, 4))
    np.testing.assert_allclose(
        targets.part[0], [[4 / 19, 3 / 19, 4 / 19, 4 / 19], [4 / 6, 2 / 6, 0, 4 / 19]], rtol=1e-6
    )
    assert targets.peak[0].tolist() == [[True, False, False, False], [True, False, False, False]]


def test_targets_of_many_images_are_those_of_each() -> None:
    made = pretext_images(5, 6, SIZE)
    ids, attributes = np.tile(made.ids, (170, 1, 1)), np.tile(made.attributes, (170, 1, 1))
    many = position_targets(ids, attributes, (8, 12))
    for number in (0, 4, 499, 500, 1019):
        row = number % 6
        one = position_targets(made.ids[row : row + 1], made.attributes[row : row + 1], (8, 12))
        for name in ("share", "attributes", "part", "peak"):
            np.testing.assert_array_equal(getattr(many, name)[number], getattr(one, name)[0])


def test_positions_of_a_grid_that_does_not_divide_the_image_cover_all_pixels() -> None:
    ids = np.zeros((1, 5, 7), dtype=np.int8)
    targets = position_targets(ids, np.array([[[1, 1, 1, 1]]], dtype=np.int8), (2, 3))
    assert (targets.share == 1).all()
    assert (targets.attributes == 1).all()
    assert targets.part.sum() == 1


def test_attributes_are_those_of_the_scenes() -> None:
    made = pretext_images(5, 6, SIZE)
    for scene, ids, rows in zip(
        draw_scenes(SceneRecipe(5, DOMAIN, SIZE), range(6)), made.ids, made.attributes, strict=True
    ):
        assert ids.max() == len(scene.things) - 1
        for thing, row in zip(scene.things, rows, strict=False):
            named = [known[value] for known, value in zip(ATTRIBUTE_VALUES, row, strict=True)]
            assert named == [getattr(thing, name) for name in ATTRIBUTE_NAMES]
        assert (rows[len(scene.things) :] == -1).all()


def test_fewer_images_are_the_first_of_more() -> None:
    np.testing.assert_array_equal(pretext_images(5, 6, SIZE).images[:2], pretext_images(5, 2, SIZE).images)


def test_images_of_a_split_are_not_pretext_images_of_the_same_seed() -> None:
    pretext = pretext_images(0, 4, SIZE).images
    split = render(draw_scenes(SceneRecipe(0, "train", SIZE), range(4)), SIZE)
    assert not set(image_hashes(pretext)) & set(image_hashes(split))


def test_a_hash_depends_on_shape_and_pixels() -> None:
    flat = np.zeros((1, 2, 6, 3), dtype=np.uint8)
    one, other = image_hashes(flat)[0], image_hashes(flat.reshape(1, 3, 4, 3))[0]
    assert one != other
    assert image_hashes(flat + np.uint8(1))[0] != one
