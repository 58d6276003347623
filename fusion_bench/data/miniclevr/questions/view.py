"""The matches of every possible description in a scene."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from random import Random
from typing import TypeVar

from fusion_bench.data.miniclevr.questions.phrases import Description
from fusion_bench.data.programs import ATTRIBUTES, Facts

T = TypeVar("T")

NAMES = tuple(ATTRIBUTES)
PATTERNS = tuple(range(16))
"""The sets of attributes that a description names: bit ``i`` stands for ``NAMES[i]``."""
BIT = {name: 1 << number for number, name in enumerate(NAMES)}
NAMED = tuple(tuple(name for name in NAMES if pattern & BIT[name]) for pattern in PATTERNS)
COMBINATIONS = tuple(prod(len(ATTRIBUTES[name]) for name in NAMED[pattern]) for pattern in PATTERNS)
"""Number of different descriptions of each pattern; with more descriptions, each matches fewer objects."""


def pick(random: Random, items: Sequence[T]) -> T:
    """Return a random item, by ``random.random()`` only, whose stream is the same in every Python version."""
    return items[int(random.random() * len(items))]


def patterns(filters: range, without: int = 0) -> tuple[int, ...]:
    """Return all patterns whose number of attributes is in ``filters`` and that have no bit of ``without``."""
    return tuple(p for p in PATTERNS if p.bit_count() in filters and not p & without)


def fixed_bits(varying: Iterable[str]) -> int:
    """Return the bits of the attributes that do not vary, which no description names."""
    return PATTERNS[-1] & ~sum(BIT[name] for name in varying)


def reference_filters(without: int) -> range:
    """Return how many attributes may describe a reference object: one to three, of those not in ``without``."""
    return range(1, min(3, len(NAMES) - without.bit_count()) + 1)


class SceneView:
    """The objects of one scene by description, as bit sets.

    Attributes:
        facts: the facts of the scene.
        fixed: bits of the attributes that no description names, because they do not vary.
        matching: for each pattern, all descriptions that match an object, with the matching objects.
        identifying: for each pattern, the descriptions that match exactly one object, with its number.
    """

    __slots__ = ("facts", "fixed", "identifying", "matching")

    def __init__(self, facts: Facts, fixed: int = 0) -> None:
        self.facts, self.fixed = facts, fixed
        rows = list(zip(*(facts.values[name] for name in NAMES), strict=True))
        self.matching: list[dict[Description, int]] = [{} for _ in PATTERNS]
        for number, (size, color, material, shape) in enumerate(rows):
            bit = 1 << number
            for pattern, matching in enumerate(self.matching):
                description = (
                    size if pattern & 1 else None,
                    color if pattern & 2 else None,
                    material if pattern & 4 else None,
                    shape if pattern & 8 else None,
                )
                matching[description] = matching.get(description, 0) | bit
        self.identifying = [
            [
                (description, bits.bit_length() - 1)
                for description, bits in matching.items()
                if not bits & (bits - 1)
            ]
            for matching in self.matching
        ]

    def absent(self, pattern: int, random: Random) -> Description | None:
        """Sample a description that matches no object; half of the time it differs from an object's in one word.

        Returns None if six attempts all match an object.
        """
        matching = self.matching[pattern]
        named, known = NAMED[pattern], list(matching)
        one_word_off = random.random() < 0.5
        for _ in range(6):
            start: Description = pick(random, known)
            words = dict(zip(NAMES, start, strict=True))
            for name in (pick(random, named),) if one_word_off else named:
                words[name] = pick(random, ATTRIBUTES[name])
            description = (words["size"], words["color"], words["material"], words["shape"])
            if description not in matching:
                return description
        return None
