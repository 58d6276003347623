"""Attributes: all values are equally likely, distractors differ in one attribute, conditions are kept."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from fusion_bench.data.miniclevr.placement import SceneRecipe, draw_scenes
from fusion_bench.data.miniclevr.scenes.attributes import (
    FIXED_VALUES,
    VARYING,
    Attributes,
    change_one_attribute,
    draw_attributes,
)
from fusion_bench.data.programs import ATTRIBUTES

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("condition", [None, "A", "B"])
def test_values_are_equally_likely(condition: Any) -> None:
    attributes = [draw_attributes(u, condition) for u in RANDOM.random((4000, 4))]
    for name in ("shape", "size", "material"):
        shares = np.array(list(Counter(getattr(one, name) for one in attributes).values())) / len(attributes)
        assert len(shares) == len(ATTRIBUTES[name])
        assert np.abs(shares * len(shares) - 1).max() < 0.1
    for shape in ATTRIBUTES["shape"]:
        counted = Counter(one.color for one in attributes if one.shape == shape)
        assert len(counted) == (4 if condition and shape != "sphere" else 8)
        assert min(counted.values()) > 0.7 * max(counted.values())


@pytest.mark.parametrize("condition", [None, "A", "B"])
def test_a_distractor_differs_in_one_attribute(condition: Any) -> None:
    changed: Counter[str] = Counter()
    for u in RANDOM.random((2000, 6)):
        one = draw_attributes(u, condition)
        other = change_one_attribute(one, u[4:], condition)
        (name,) = [name for name in Attributes._fields if getattr(one, name) != getattr(other, name)]
        changed[name] += 1
        if condition is not None and other.shape != "sphere":
            first = other.color in {"gray", "blue", "brown", "yellow"}
            assert first == ((other.shape == "cube") == (condition == "A"))
    assert min(changed.values()) > 400


def test_scenes_have_distractors_only_where_they_are_requested() -> None:
    plain, with_distractors = (
        SceneRecipe(3, "train", (32, 48)),
        SceneRecipe(3, "train", (32, 48), distractors=0.5),
    )
    assert draw_scenes(plain, range(3)) == draw_scenes(
        SceneRecipe(3, "train", (32, 48), distractors=0.0), range(3)
    )

    def distractor_share(recipe: SceneRecipe) -> float:
        """Return the share of objects from which another object differs in one attribute only."""
        found = []
        for scene in draw_scenes(recipe, range(60)):
            attributes = [[getattr(thing, name) for name in Attributes._fields] for thing in scene.things]
            differences = [
                [sum(a != b for a, b in zip(x, y, strict=True)) for y in attributes] for x in attributes
            ]
            found += [1 in row for row in differences]
        return float(np.mean(found))

    assert distractor_share(with_distractors) > 0.7
    assert distractor_share(plain) < 0.6


@pytest.mark.parametrize("varying", [("color",), ("shape", "material"), ("size", "color")])
def test_only_the_varying_attributes_differ_in_a_scene(varying: tuple[str, ...]) -> None:
    for distractors in (0.0, 0.5):
        recipe = SceneRecipe(3, "train", (32, 48), (3, 5), distractors=distractors, attributes=varying)
        seen = {
            name: {getattr(thing, name) for scene in draw_scenes(recipe, range(40)) for thing in scene.things}
            for name in VARYING
        }
        for name in VARYING:
            assert seen[name] == (set(ATTRIBUTES[name]) if name in varying else {FIXED_VALUES[name]})


@pytest.mark.parametrize("varying", [("size", "color"), ("shape", "size", "material"), ("color",)])
def test_what_varies_changes_neither_the_scenes_nor_the_varying_values(varying: tuple[str, ...]) -> None:
    """Only objects of another size need other places, and are drawn again."""
    every, some = (
        draw_scenes(SceneRecipe(3, "train", (96, 144), (2, 5), attributes=attributes), range(20))
        for attributes in (VARYING, varying)
    )
    for one, other in zip(every, some, strict=True):
        assert (one.camera, one.lights, len(one.things)) == (other.camera, other.lights, len(other.things))
    pairs = [
        pair
        for one, other in zip(every, some, strict=True)
        for pair in zip(one.things, other.things, strict=True)
    ]
    for name in set(VARYING) - set(varying):
        assert {getattr(other, name) for _, other in pairs} == {FIXED_VALUES[name]}
        assert {getattr(one, name) for one, _ in pairs} == set(ATTRIBUTES[name])
    if "size" in varying:
        assert all(one.coords == other.coords for one, other in pairs)
        assert all(getattr(one, name) == getattr(other, name) for one, other in pairs for name in varying)


def test_a_distractor_changes_a_varying_attribute() -> None:
    for u in RANDOM.random((300, 6)):
        one = draw_attributes(u, None, ("size", "material"))
        other = change_one_attribute(one, u[4:], None, ("size", "material"))
        (name,) = [name for name in VARYING if getattr(one, name) != getattr(other, name)]
        assert name in {"size", "material"}
