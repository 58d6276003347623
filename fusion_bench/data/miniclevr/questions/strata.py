"""Cells: groups of questions within which every answer is asked equally often.

If answers were balanced over a whole family only, the words would still tell: "small things" are many,
"small red metal cubes" are few, and a long description of a reference means a crowded scene. So answers are
balanced within cells that fix which attributes the counted or queried set names (and, where one relation
stands between, how many the reference names). Each cell asks its answers in rounds, shuffled, and waits
with the next answer until some scene allows the one that is due; an answer that is hard to come by thereby
slows its cell down but never falls behind the others. (Attribute values are equally hard to come by, so of
these any that the round still lacks will do.)
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from fusion_bench.data.miniclevr.questions.families import Family
from fusion_bench.data.miniclevr.questions.view import BIT, COMBINATIONS, patterns, pick
from fusion_bench.data.programs import ATTRIBUTES

AnswerTarget: TypeAlias = str | range
"""An answer: a value or yes or no, or how many objects the set may hold."""

_SIZES: tuple[AnswerTarget, ...] = (*(range(size, size + 1) for size in range(6)), range(6, 11))
_MOST = ((2, 6), (6, 4), (24, 3), (math.inf, 2))
"""The largest count asked for, by how many different sets share a scene out (6 stands for six and more)."""
_EXIST: tuple[AnswerTarget, ...] = (range(1), range(1, 11))
_YES_NO: tuple[AnswerTarget, ...] = ("yes", "no")


@dataclass(frozen=True, slots=True, eq=False)
class Stratum:
    """Questions of one family whose wording should not give their answer away.

    Attributes:
        family: their family.
        patterns: which attributes the described sets name; one of the tuples is drawn.
        filters: attributes that the reference object is described by; 0: any number.
        targets: the answers that are asked equally often.
    """

    family: Family
    patterns: tuple[tuple[int, ...], ...]
    filters: int
    targets: tuple[AnswerTarget, ...]


def strata_of(family: Family) -> tuple[Stratum, ...]:
    """Every cell of a family."""
    if family.form == "attributes":
        return tuple(_attribute_cells(family))
    if family.form in {"integers", "either"}:
        return tuple(_pair_cells(family))
    return tuple(_set_cells(family))


def _set_cells(family: Family) -> Iterable[Stratum]:
    """One described set: what is counted, looked for or queried."""
    related = family.form != "hops" or family.hops != (0,)
    longest = 2 if family.form == "both" else 4 if family.asks == "exist" else 3
    without = BIT[family.queried] if family.queried else 0
    if family.form == "same" and family.attribute:
        without |= BIT[family.attribute]
    named = patterns(range(0 if related and family.form != "same" else 1, longest + 1), without)
    references = (1, 2, 3) if family.hops == (1,) else (0,)
    if not family.described:
        named, references = (0,), (1, 2, 3)
    # A relation leaves about half of the objects, a likeness its attribute's share.
    shares = (
        len(ATTRIBUTES[family.attribute]) if family.attribute else 2 ** len(family.hops) if related else 1
    )
    for pattern in named:
        for filters in references:
            yield Stratum(family, ((pattern,),), filters, _targets(family, COMBINATIONS[pattern] * shares))


def _attribute_cells(family: Family) -> Iterable[Stratum]:
    """Two objects compared by an attribute that neither description names."""
    assert family.attribute is not None  # noqa: S101 - narrows the type
    without = BIT[family.attribute]
    for first in (1, 2, 3):
        for second in (1, 2, 3):
            pairs = [
                (p, q)
                for p in patterns(range(first, first + 1), without)
                for q in patterns(range(second, second + 1), without)
            ]
            yield Stratum(family, tuple(pairs), 0, _YES_NO)


def _pair_cells(family: Family) -> Iterable[Stratum]:
    """Two sets of about equal expected size; the more alternatives a description has, the fewer it fits."""
    without = BIT[family.attribute] if family.attribute else 0
    named = patterns(range(1, 4), without)
    groups: defaultdict[tuple[int, int], list[tuple[int, ...]]] = defaultdict(list)
    for p in named:
        for q in named:
            sizes = COMBINATIONS[p], COMBINATIONS[q]
            if max(sizes) <= 2 * min(sizes):
                groups[sizes].append((p, q))
    for sizes, pairs in groups.items():
        yield Stratum(family, tuple(pairs), 0, _targets(family, min(sizes)))


def _targets(family: Family, alternatives: int) -> tuple[AnswerTarget, ...]:
    """The answers of a cell; ``alternatives`` is how many different sets of its kind share a scene out."""
    if family.queried:
        return ATTRIBUTES[family.queried]
    if family.asks == "exist":
        return _EXIST
    if family.asks == "count":
        # A count that scenes of ten objects hardly ever give would bring its cell to a halt.
        most = next(most for limit, most in _MOST if alternatives <= limit)
        return _SIZES[: most + 1]
    return _YES_NO


class Rounds:
    """Which answers are due in each cell."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._left: dict[Stratum, list[AnswerTarget]] = {}
        self._asked: Counter[Stratum] = Counter()

    def choose(self, options: Sequence[Stratum]) -> Stratum:
        """A cell to try next: every other time of two at random the one less asked, to help the slow ones."""
        one, other = pick(self._random, options), pick(self._random, options)
        return other if self._random.random() < 0.5 and self._asked[other] < self._asked[one] else one

    def due(self, cell: Stratum) -> Sequence[AnswerTarget]:
        """The answers that will do: the next one, or for attribute values all that the round still lacks."""
        if cell not in self._left:
            self._left[cell] = self._shuffled(cell.targets)
        left = self._left[cell]
        return left if cell.family.queried else left[-1:]

    def asked(self, cell: Stratum, answer: str) -> None:
        """A question with a due answer was found."""
        self._asked[cell] += 1
        left = self._left[cell]
        left.remove(answer) if cell.family.queried else left.pop()
        if not left:
            self._left[cell] = self._shuffled(cell.targets)

    def _shuffled(self, targets: tuple[AnswerTarget, ...]) -> list[AnswerTarget]:
        return sorted(targets, key=lambda _: self._random.random())
