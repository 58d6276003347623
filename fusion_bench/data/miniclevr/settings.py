"""The settings of a built-in data set's images, and their validation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from fusion_bench.data.miniclevr.placement import SceneRecipe
from fusion_bench.data.miniclevr.questions.templates import Wordings
from fusion_bench.data.miniclevr.scenes.attributes import VARYING
from fusion_bench.errors import DataError
from fusion_bench.registry import did_you_mean
from fusion_bench.samples.dataset import Splits

Attribute: TypeAlias = Literal["shape", "size", "color", "material"]


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """The settings that all built-in data sets share.

    Attributes:
        seed: seed of scenes and texts.
        images: pairs of a split's name and its number of images.
        size: height and width of the images in pixels.
        things: least and greatest number of objects in a scene.
        attributes: the attributes that vary between objects, in the order of `VARYING`.
    """

    seed: int
    images: tuple[tuple[str, int], ...]
    size: tuple[int, int]
    things: tuple[int, int]
    attributes: tuple[str, ...] = VARYING

    def recipe(self, split: str) -> SceneRecipe:
        """Return the recipe of a split's scenes."""
        return SceneRecipe(self.seed, split, self.size, self.things, attributes=self.attributes)


def images_per_split(images: Mapping[str, int], splits: Splits) -> tuple[tuple[str, int], ...]:
    """Validate the setting ``images`` and return pairs of a split's name and its number of images.

    All splits for evaluation get the same number.

    Raises:
        DataError: a role is missing or unknown, or a number is not a positive integer.
    """
    roles = {"train": (splits.train,), "select": (splits.select,), "evaluate": splits.evaluate}
    if set(images) != set(roles) or any(int_or_minus_one(count) < 1 for count in images.values()):
        raise DataError(
            f"images must give a number of images for each of {', '.join(roles)}, not {dict(images)!r}"
        )
    return tuple((name, images[role]) for role, names in roles.items() for name in names)


def validated_size(size: Sequence[int]) -> tuple[int, int]:
    """Validate the setting ``size`` and return height and width in pixels.

    Raises:
        DataError: the value is not a valid image size.
    """
    return _pair("size", size, least=8)


def validated_things(things: Sequence[int]) -> tuple[int, int]:
    """Validate the setting ``things`` and return the least and the greatest number of objects in a scene.

    Raises:
        DataError: the value is not a range within 1 to 10.
    """
    fewest, most = _pair("things", things, least=1)
    if not fewest <= most <= 10:
        raise DataError(
            f"things must be a least and a greatest number of objects, at most 10, not {list(things)!r}"
        )
    return fewest, most


def validated_attributes(attributes: Collection[str] | None) -> tuple[str, ...]:
    """Validate the setting ``attributes`` and return the attributes that vary, in the order of `VARYING`.

    Raises:
        DataError: an attribute is unknown, or there is none.
    """
    if attributes is None:
        return VARYING
    for name in attributes:
        if name not in VARYING:
            raise DataError(f"objects have no attribute {name!r}{did_you_mean(name, VARYING)}")
    if not attributes:
        raise DataError(f"attributes is empty; name at least one of {', '.join(VARYING)}")
    return tuple(name for name in VARYING if name in attributes)


def validated_wordings(wordings: Wordings) -> Wordings:
    """Return the setting ``wordings``.

    Raises:
        DataError: the value is not one of `Wordings`.
    """
    if wordings not in get_args(Wordings):
        raise DataError(f"wordings must be {' or '.join(get_args(Wordings))}, not {wordings!r}")
    return wordings


def int_or_minus_one(value: object) -> int:
    """Return ``value`` if it is an integer (and not a bool), else -1."""
    return value if type(value) is int else -1


def _pair(name: str, values: Sequence[int], least: int) -> tuple[int, int]:
    if len(values) != 2 or any(int_or_minus_one(value) < least for value in values):
        raise DataError(f"{name} must be two whole numbers of at least {least}, not {values!r}")
    return values[0], values[1]
