"""A scene as its questions see it: which objects every possible description fits."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from random import Random
from typing import TypeVar

from fusion_bench.data.miniclevr.questions.phrases import Description
from fusion_bench.data.programs import ATTRIBUTES, Facts

T = TypeVar("T")

NAMES = tuple(ATTRIBUTES)
PATTERNS = tuple(range(16))
"""Which attributes a description names: bit ``i`` stands for ``NAMES[i]``."""
BIT = {name: 1 << number for number, name in enumerate(NAMES)}
NAMED = tuple(tuple(name for name in NAMES if pattern & BIT[name]) for pattern in PATTERNS)
COMBINATIONS = tuple(prod(len(ATTRIBUTES[name]) for name in NAMED[pattern]) for pattern in PATTERNS)
"""Number of different descriptions of each pattern: the more there are, the fewer objects each fits."""


def pick(random: Random, items: Sequence[T]) -> T:
    """One item at random, from ``random.random()`` alone, whose stream Python promises to keep."""
    return items[int(random.random() * len(items))]


def patterns(filters: range, without: int = 0) -> tuple[int, ...]:
    """Every pattern that names as many attributes as ``filters`` holds and none of the bits ``without``."""
    return tuple(p for p in PATTERNS if p.bit_count() in filters and not p & without)


class View:
    """Bit sets of one scene, by description.

    Attributes:
        facts: the scene.
        fitting: for each pattern, every description that fits an object, with the objects it fits.
        singled_out: for each pattern, the descriptions that fit one object only, with that object's number.
    """

    __slots__ = ("facts", "fitting", "singled_out")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        rows = list(zip(*(facts.values[name] for name in NAMES), strict=True))
        self.fitting: list[dict[Description, int]] = [{} for _ in PATTERNS]
        for number, (size, color, material, shape) in enumerate(rows):
            bit = 1 << number
            for pattern, fitting in enumerate(self.fitting):
                description = (
                    size if pattern & 1 else None,
                    color if pattern & 2 else None,
                    material if pattern & 4 else None,
                    shape if pattern & 8 else None,
                )
                fitting[description] = fitting.get(description, 0) | bit
        self.singled_out = [
            [
                (description, bits.bit_length() - 1)
                for description, bits in fitting.items()
                if not bits & (bits - 1)
            ]
            for fitting in self.fitting
        ]

    def absent(self, pattern: int, random: Random) -> Description | None:
        """A description that fits nothing; half of the time one that is a single word off an object's.

        None if the few that were tried all fit something.
        """
        fitting = self.fitting[pattern]
        named, known = NAMED[pattern], list(fitting)
        near = random.random() < 0.5
        for _ in range(6):
            start: Description = pick(random, known)
            words = dict(zip(NAMES, start, strict=True))
            for name in (pick(random, named),) if near else named:
                words[name] = pick(random, ATTRIBUTES[name])
            description = (words["size"], words["color"], words["material"], words["shape"])
            if description not in fitting:
                return description
        return None
