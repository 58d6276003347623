"""Which pictures a built-in data set consists of, and the settings that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusion_bench.data.miniclevr.placement import Recipe
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import Splits


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """Pictures to make.

    Attributes:
        seed: of everything.
        images: splits and how many images each has.
        size: height and width of the pictures.
        things: least and most objects of a scene.
    """

    seed: int
    images: tuple[tuple[str, int], ...]
    size: tuple[int, int]
    things: tuple[int, int]

    def recipe(self, split: str) -> Recipe:
        """What the scenes of a split are drawn from."""
        return Recipe(self.seed, split, self.size, self.things)


def counts(images: Mapping[str, int], splits: Splits) -> tuple[tuple[str, int], ...]:
    """The setting ``images``: splits and how many images each has; all that are evaluated have equally many.

    Raises:
        DataError: a role is missing or unknown, or a number is not one.
    """
    roles = {"train": (splits.train,), "select": (splits.select,), "evaluate": splits.evaluate}
    if set(images) != set(roles) or any(int_or_minus_one(count) < 1 for count in images.values()):
        raise DataError(f"images must give a number of pictures for {', '.join(roles)}, not {dict(images)!r}")
    return tuple((name, images[role]) for role, names in roles.items() for name in names)


def size_of(size: Sequence[int]) -> tuple[int, int]:
    """The setting ``size``, height and width.

    Raises:
        DataError: it is no size of a picture.
    """
    return _pair("size", size, least=8)


def things_of(things: Sequence[int]) -> tuple[int, int]:
    """The setting ``things``, least and most objects of a scene.

    Raises:
        DataError: it is no range within 1 to 10.
    """
    fewest, most = _pair("things", things, least=1)
    if not fewest <= most <= 10:
        raise DataError(f"things must run from a smaller to a larger number up to 10, not {list(things)!r}")
    return fewest, most


def int_or_minus_one(value: object) -> int:
    """A whole number as it is; -1 for anything else."""
    return value if type(value) is int else -1


def _pair(name: str, values: Sequence[int], least: int) -> tuple[int, int]:
    if len(values) != 2 or any(int_or_minus_one(value) < least for value in values):
        raise DataError(f"{name} must be two whole numbers of at least {least}, not {values!r}")
    return values[0], values[1]
