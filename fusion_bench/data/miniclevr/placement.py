"""Drawing scenes under CLEVR's rules, each from a random stream of its own.

The rules are those of CLEVR's generator (Johnson et al., CVPR 2017): 3 to 10 objects on a 6 x 6 square, a gap
between any two, no two nearly in line along a camera direction, every object clearly visible.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_bench.data.miniclevr.render.render import object_ids
from fusion_bench.data.miniclevr.scenes.attributes import Attributes, change_one_attribute, draw_attributes
from fusion_bench.data.miniclevr.scenes.camera import JITTER, USUAL_LOCATION, Array, Camera, Point
from fusion_bench.data.miniclevr.scenes.conditions import CogentCondition
from fusion_bench.data.miniclevr.scenes.lights import LAMP_JITTER, USUAL_LAMPS
from fusion_bench.data.miniclevr.scenes.scenes import RADII, Scene, Thing
from fusion_bench.errors import FusionBenchError

_HALF_SIDE = 3.0
_LEAST_GAP = 0.25
_LEAST_MARGIN = 0.4
_PLACES_TRIED = 50
_LEAST_VISIBLE = 200 / (240 * 320)  # share of the picture
_ATTEMPTS = 2000


@dataclass(frozen=True)
class Recipe:
    """What scenes are drawn from.

    Attributes:
        seed: the data set's seed.
        domain: which of its scenes: a split's name, or the pretext's; scenes of two domains share no stream.
        size: height and width of the picture that every object must be visible in.
        things: fewest and most objects.
        condition: of CoGenT, which the colours of cubes and cylinders keep to; None: any colour.
        alike: probability that an object is drawn as a distractor of one before it, whose looks it has but
            for one attribute.
    """

    seed: int
    domain: str
    size: tuple[int, int]
    things: tuple[int, int] = (3, 10)
    condition: CogentCondition | None = None
    alike: float = 0.0


def draw_scene(recipe: Recipe, index: int) -> Scene:
    """Draw one scene; see `draw_scenes`."""
    return draw_scenes(recipe, [index])[0]


def draw_scenes(recipe: Recipe, indices: Sequence[int]) -> list[Scene]:
    """Draw scenes by number. A scene depends on the recipe and its number alone.

    Camera, lamps and the number of objects are drawn once; objects are drawn anew until they keep CLEVR's
    margins and each shows at least 200 pixels of a 320 x 240 picture, scaled to the size.

    Args:
        recipe: what to draw from.
        indices: the scenes' numbers.

    Raises:
        FusionBenchError: no attempt gave a scene in which everything is visible.
    """
    drafts = [_Draft(recipe, index) for index in indices]
    scenes: list[Scene | None] = [None] * len(drafts)
    least = max(1, round(_LEAST_VISIBLE * recipe.size[0] * recipe.size[1]))
    for _ in range(_ATTEMPTS):
        waiting = [number for number, scene in enumerate(scenes) if scene is None]
        if not waiting:
            break
        drawn = [drafts[number].attempt() for number in waiting]
        for number, scene, enough in zip(waiting, drawn, _visible(drawn, recipe.size, least), strict=True):
            scenes[number] = scene if enough else None
    finished = [scene for scene in scenes if scene is not None]
    if len(finished) < len(scenes):
        raise FusionBenchError(
            f"no scene of {recipe.things[0]} to {recipe.things[1]} objects shows all of them in pictures of "
            f"{recipe.size[0]} x {recipe.size[1]}; ask for larger pictures or fewer objects"
        )
    return finished


def _visible(scenes: Sequence[Scene], size: tuple[int, int], least: int) -> list[bool]:
    """Whether each scene's things all have ``least`` pixels."""
    ids = object_ids(scenes, size).reshape(len(scenes), -1).astype(np.int64)
    most = max(len(scene.things) for scene in scenes) + 1
    rows = np.arange(len(scenes))[:, None] * most
    counts = np.bincount((ids + 1 + rows).ravel(), minlength=most * len(scenes)).reshape(-1, most)
    return [
        bool((row[1 : len(scene.things) + 1] >= least).all())
        for row, scene in zip(counts, scenes, strict=True)
    ]


class _Draft:
    """One scene in the making: its random stream and what is fixed of it."""

    def __init__(self, recipe: Recipe, index: int) -> None:
        name = f"miniclevr/{recipe.domain}/{recipe.seed}/{index}"
        # Bit generators keep their streams across versions of numpy, which its distributions do not promise.
        self._bits = np.random.PCG64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big"))
        self._index, self._size = index, recipe.size
        self._condition, self._alike = recipe.condition, recipe.alike
        fewest, most = recipe.things
        draws = self._uniform(13)
        self._count = fewest + int(draws[0] * (most - fewest + 1))
        self._camera = Camera(_jittered(USUAL_LOCATION, draws[1:4], JITTER))
        key, fill, back = (
            _jittered(place, draws[4 + 3 * lamp : 7 + 3 * lamp], LAMP_JITTER)
            for lamp, place in enumerate(USUAL_LAMPS)
        )
        self._lamps = (key, fill, back)
        right, behind = self._camera.directions["right"], self._camera.directions["behind"]
        self._ground = (right[:2], behind[:2])

    def attempt(self) -> Scene:
        """Objects under CLEVR's margins; starts anew as often as one of them finds no place."""
        for _ in range(_ATTEMPTS):
            draws = self._uniform(self._count * 5).reshape(self._count, 5).tolist()
            looks = self._looks(draws)
            radii = [RADII[of_one.size] for of_one in looks]
            places = self._places(radii)
            if places is not None:
                break
        else:
            raise FusionBenchError(
                f"{self._count} objects find no place beside each other in a scene; ask for fewer"
            )
        coords = [(x, y, radius) for (x, y), radius in zip(places, radii, strict=True)]
        pixels = self._camera.project(coords, self._size)
        things = tuple(
            Thing(
                **of_one._asdict(),
                coords=place,
                rotation=360 * turn,
                pixel=(round(float(pixel[0])), round(float(pixel[1])), float(pixel[2])),
            )
            for of_one, (*_, turn), place, pixel in zip(looks, draws, coords, pixels, strict=True)
        )
        return Scene(self._index, things, self._camera, self._lamps)

    def _looks(self, draws: Sequence[Sequence[float]]) -> list[Attributes]:
        """The looks of all things; some become those of a thing before them with one attribute changed."""
        looks = [draw_attributes(u, self._condition) for u in draws]
        if not self._alike:
            return looks
        for number, (chance, *u) in enumerate(self._uniform(len(looks) * 4).reshape(-1, 4).tolist()):
            if number and chance < self._alike:
                looks[number] = change_one_attribute(looks[int(u[0] * number)], u[1:], self._condition)
        return looks

    def _places(self, radii: Sequence[float]) -> list[tuple[float, float]] | None:
        """Places one after the other, each the first of 50 that suits those before it."""
        places: list[tuple[float, float]] = []
        taken: list[tuple[float, float, float]] = []
        (right_x, right_y), (behind_x, behind_y) = self._ground
        for radius in radii:
            draws = ((2 * self._uniform(2 * _PLACES_TRIED) - 1) * _HALF_SIDE).tolist()
            for x, y in zip(draws[::2], draws[1::2], strict=True):
                across, away = x * right_x + y * right_y, x * behind_x + y * behind_y
                if _fits(across, away, radius, taken):
                    break
            else:
                return None
            places.append((x, y))
            taken.append((across, away, radius))
        return places

    def _uniform(self, count: int) -> Array:
        """Numbers in [0, 1) with 53 random bits each."""
        raw: npt.NDArray[np.uint64] = self._bits.random_raw(count)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _fits(across: float, away: float, radius: float, taken: Sequence[tuple[float, float, float]]) -> bool:
    """Whether an object keeps CLEVR's gap from others and stands in line with none of them."""
    for other_across, other_away, other_radius in taken:
        right, behind = across - other_across, away - other_away
        if abs(right) < _LEAST_MARGIN or abs(behind) < _LEAST_MARGIN:
            return False
        gap = radius + other_radius + _LEAST_GAP
        if right * right + behind * behind < gap * gap:
            return False
    return True


def _jittered(place: Point, draws: Array, most: float) -> Point:
    x, y, z = (float(axis + most * (2 * draw - 1)) for axis, draw in zip(place, draws, strict=True))
    return x, y, z
