"""Random scenes under CLEVR's rules, each from its own random stream.

The rules are those of CLEVR's generator (Johnson et al., CVPR 2017): 3 to 10 objects on a 6 x 6 square, a gap between
any two objects, no two objects nearly aligned along a camera direction, and every object clearly visible.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_bench.data.miniclevr.render.render import object_ids
from fusion_bench.data.miniclevr.scenes.attributes import (
    VARYING,
    Attributes,
    change_one_attribute,
    draw_attributes,
)
from fusion_bench.data.miniclevr.scenes.camera import CAMERA_JITTER, DEFAULT_LOCATION, Array, Camera, Point
from fusion_bench.data.miniclevr.scenes.conditions import CogentCondition
from fusion_bench.data.miniclevr.scenes.lights import DEFAULT_LIGHTS, LIGHT_JITTER
from fusion_bench.data.miniclevr.scenes.scenes import RADII, Scene, Thing
from fusion_bench.errors import FusionBenchError

_HALF_SIDE = 3.0
_LEAST_GAP = 0.25
_LEAST_MARGIN = 0.4
_PLACE_ATTEMPTS = 50
_LEAST_VISIBLE = 200 / (240 * 320)  # share of the image
_ATTEMPTS = 2000


@dataclass(frozen=True)
class SceneRecipe:
    """The parameters of the distribution of scenes.

    Attributes:
        seed: seed of the data set.
        domain: name of a split, or of the pretext task; different domains use different random streams.
        size: height and width in pixels of the image in which every object must be visible.
        things: least and greatest number of objects.
        condition: the CoGenT condition for the colours of cubes and cylinders; None allows all colours.
        distractors: probability that an object is a distractor: a copy of an earlier object with one attribute
            changed.
        attributes: the attributes that vary, in the order of `VARYING`.
    """

    seed: int
    domain: str
    size: tuple[int, int]
    things: tuple[int, int] = (3, 10)
    condition: CogentCondition | None = None
    distractors: float = 0.0
    attributes: tuple[str, ...] = VARYING


def draw_scene(recipe: SceneRecipe, index: int) -> Scene:
    """Draw one scene; see `draw_scenes`."""
    return draw_scenes(recipe, [index])[0]


def draw_scenes(recipe: SceneRecipe, indices: Sequence[int]) -> list[Scene]:
    """Draw scenes by number. A scene depends on the recipe and on its number only.

    The camera, the lights and the number of objects are drawn once. The objects are drawn repeatedly until they keep
    CLEVR's margins and each of them covers at least 200 pixels of a 320 x 240 image, scaled to the size.

    Args:
        recipe: the parameters of the scenes.
        indices: the numbers of the scenes.

    Raises:
        FusionBenchError: no attempt gave a scene in which all objects are visible.
    """
    drafts = [_Draft(recipe, index) for index in indices]
    scenes: list[Scene | None] = [None] * len(drafts)
    least = max(1, round(_LEAST_VISIBLE * recipe.size[0] * recipe.size[1]))
    for _ in range(_ATTEMPTS):
        open_numbers = [number for number, scene in enumerate(scenes) if scene is None]
        if not open_numbers:
            break
        drawn = [drafts[number].attempt() for number in open_numbers]
        for number, scene, visible in zip(
            open_numbers, drawn, _visible(drawn, recipe.size, least), strict=True
        ):
            scenes[number] = scene if visible else None
    finished = [scene for scene in scenes if scene is not None]
    if len(finished) < len(scenes):
        raise FusionBenchError(
            f"{recipe.things[0]} to {recipe.things[1]} objects are not all visible in images of "
            f"{recipe.size[0]} x {recipe.size[1]} pixels; use larger images or fewer objects"
        )
    return finished


def _visible(scenes: Sequence[Scene], size: tuple[int, int], least: int) -> list[bool]:
    """Return for each scene whether all its objects cover at least ``least`` pixels."""
    ids = object_ids(scenes, size).reshape(len(scenes), -1).astype(np.int64)
    most = max(len(scene.things) for scene in scenes) + 1
    rows = np.arange(len(scenes))[:, None] * most
    counts = np.bincount((ids + 1 + rows).ravel(), minlength=most * len(scenes)).reshape(-1, most)
    return [
        bool((row[1 : len(scene.things) + 1] >= least).all())
        for row, scene in zip(counts, scenes, strict=True)
    ]


class _Draft:
    """One scene under construction: its random stream and its fixed parts."""

    def __init__(self, recipe: SceneRecipe, index: int) -> None:
        name = f"miniclevr/{recipe.domain}/{recipe.seed}/{index}"
        # Bit generators have the same stream in every version of numpy; its distributions do not guarantee this.
        self._bits = np.random.PCG64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big"))
        self._index, self._size = index, recipe.size
        self._condition, self._distractors = recipe.condition, recipe.distractors
        self._varying = recipe.attributes
        fewest, most = recipe.things
        draws = self._uniform(13)
        self._count = fewest + int(draws[0] * (most - fewest + 1))
        self._camera = Camera(_jittered(DEFAULT_LOCATION, draws[1:4], CAMERA_JITTER))
        key, fill, back = (
            _jittered(place, draws[4 + 3 * light : 7 + 3 * light], LIGHT_JITTER)
            for light, place in enumerate(DEFAULT_LIGHTS)
        )
        self._lights = (key, fill, back)
        right, behind = self._camera.directions["right"], self._camera.directions["behind"]
        self._ground = (right[:2], behind[:2])

    def attempt(self) -> Scene:
        """Draw objects that keep CLEVR's margins; start again whenever an object has no free place."""
        for _ in range(_ATTEMPTS):
            draws = self._uniform(self._count * 5).reshape(self._count, 5).tolist()
            attributes = self._attributes(draws)
            radii = [RADII[attribute_set.size] for attribute_set in attributes]
            places = self._places(radii)
            if places is not None:
                break
        else:
            raise FusionBenchError(f"a scene has no room for {self._count} objects; use fewer objects")
        coords = [(x, y, radius) for (x, y), radius in zip(places, radii, strict=True)]
        pixels = self._camera.project(coords, self._size)
        things = tuple(
            Thing(
                **attribute_set._asdict(),
                coords=place,
                rotation=360 * turn,
                pixel=(round(float(pixel[0])), round(float(pixel[1])), float(pixel[2])),
            )
            for attribute_set, (*_, turn), place, pixel in zip(attributes, draws, coords, pixels, strict=True)
        )
        return Scene(self._index, things, self._camera, self._lights)

    def _attributes(self, draws: Sequence[Sequence[float]]) -> list[Attributes]:
        """Draw the attributes of all objects; distractors copy an earlier object and change one of them."""
        attributes = [draw_attributes(u, self._condition, self._varying) for u in draws]
        if not self._distractors:
            return attributes
        for number, (chance, *u) in enumerate(self._uniform(len(attributes) * 4).reshape(-1, 4).tolist()):
            if number and chance < self._distractors:
                attributes[number] = change_one_attribute(
                    attributes[int(u[0] * number)], u[1:], self._condition, self._varying
                )
        return attributes

    def _places(self, radii: Sequence[float]) -> list[tuple[float, float]] | None:
        """Draw places in order, for each object the first of 50 that keeps the margins; None if there is none."""
        places: list[tuple[float, float]] = []
        taken: list[tuple[float, float, float]] = []
        (right_x, right_y), (behind_x, behind_y) = self._ground
        for radius in radii:
            draws = ((2 * self._uniform(2 * _PLACE_ATTEMPTS) - 1) * _HALF_SIDE).tolist()
            for x, y in zip(draws[::2], draws[1::2], strict=True):
                across, along = x * right_x + y * right_y, x * behind_x + y * behind_y
                if _fits(across, along, radius, taken):
                    break
            else:
                return None
            places.append((x, y))
            taken.append((across, along, radius))
        return places

    def _uniform(self, count: int) -> Array:
        """Draw ``count`` numbers in [0, 1) with 53 random bits each."""
        raw: npt.NDArray[np.uint64] = self._bits.random_raw(count)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _fits(across: float, along: float, radius: float, taken: Sequence[tuple[float, float, float]]) -> bool:
    """Return True if an object keeps CLEVR's gap to all others and is not aligned with any of them."""
    for other_across, other_along, other_radius in taken:
        right, behind = across - other_across, along - other_along
        if abs(right) < _LEAST_MARGIN or abs(behind) < _LEAST_MARGIN:
            return False
        gap = radius + other_radius + _LEAST_GAP
        if right * right + behind * behind < gap * gap:
            return False
    return True


def _jittered(place: Point, draws: Array, most: float) -> Point:
    x, y, z = (float(axis + most * (2 * draw - 1)) for axis, draw in zip(place, draws, strict=True))
    return x, y, z
