"""Strata: groups of questions within which all answers are equally frequent.

If answers were balanced within families only, the words of a question would still predict its answer: "small things"
are many, "small red metal cubes" are few, and a long description of a reference implies a scene with many objects.
So answers are balanced within strata. A stratum fixes the attributes that the counted or queried set names and, if
there is one relation, the number of attributes that the reference names.

Each stratum asks its answers in shuffled rounds, and waits with the next answer until a scene allows the one that is
due. A rare answer therefore slows its stratum down, but it remains as frequent as the others. Attribute values are
equally rare, so any value that is missing in the round is accepted.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from fusion_bench.data.miniclevr.questions.families import Family
from fusion_bench.data.miniclevr.questions.view import BIT, COMBINATIONS, patterns, pick, reference_filters
from fusion_bench.data.programs import ATTRIBUTES

AnswerTarget: TypeAlias = str | range
"""An answer: an attribute value, yes or no, or the allowed sizes of the set."""

_SIZES: tuple[AnswerTarget, ...] = (*(range(size, size + 1) for size in range(6)), range(6, 11))
_GREATEST_COUNTS = ((2, 6), (6, 4), (24, 3), (math.inf, 2))
"""The greatest count that is asked for, by the number of different sets that divide a scene (6 means at least 6)."""
_RARE = 0.02
"""The smallest expected number of groups in a scene for which a count is asked for."""
_EXIST: tuple[AnswerTarget, ...] = (range(1), range(1, 11))
_YES_NO: tuple[AnswerTarget, ...] = ("yes", "no")


@dataclass(frozen=True, slots=True, eq=False)
class Stratum:
    """A group of questions of one family whose words must not predict the answer.

    Attributes:
        family: the family.
        patterns: the attributes that the described sets name; one of the tuples is drawn.
        filters: number of attributes that describe the reference object; 0 for any number.
        targets: the answers, which are equally frequent.
    """

    family: Family
    patterns: tuple[tuple[int, ...], ...]
    filters: int
    targets: tuple[AnswerTarget, ...]


def strata_of(family: Family, fixed: int = 0, things: int = 10) -> tuple[Stratum, ...]:
    """Return all strata of a family; none if it cannot be asked.

    Args:
        family: the family.
        fixed: bits of the attributes that do not vary; they are neither named nor asked for.
        things: the greatest number of objects in a scene.
    """
    asked = [name for name in (family.queried, family.attribute) if name is not None]
    if any(BIT[name] & fixed for name in asked):
        return ()
    if family.form == "attributes":
        return tuple(_attribute_strata(family, fixed))
    if family.form in {"integers", "either"}:
        return tuple(_pair_strata(family, fixed, things))
    return tuple(_set_strata(family, fixed, things))


def _set_strata(family: Family, fixed: int, things: int) -> Iterable[Stratum]:
    """Yield the strata of a family with one described set, which is counted, tested or queried."""
    related = family.form != "hops" or family.hops != (0,)
    longest = 2 if family.form == "both" else 4 if family.function == "exist" else 3
    shared = BIT[family.attribute] if family.form == "same" and family.attribute else 0
    without = fixed | shared | (BIT[family.queried] if family.queried else 0)
    named = patterns(range(0 if related and family.form != "same" else 1, longest + 1), without)
    filters_of_reference = tuple(reference_filters(fixed | shared))
    if related and not filters_of_reference:
        return
    references = filters_of_reference if family.hops == (1,) else (0,)
    if not family.described:
        named, references = (0,), filters_of_reference
    # A relation selects about half of the objects; a shared attribute selects the share of one of its values.
    shares = (
        len(ATTRIBUTES[family.attribute]) if family.attribute else 2 ** len(family.hops) if related else 1
    )
    counted = things - max(sum(family.hops), related)
    if counted < 1:
        return
    for pattern in named:
        targets = _targets(family, COMBINATIONS[pattern] * shares, counted)
        for filters in references:
            yield Stratum(family, ((pattern,),), filters, targets)


def _attribute_strata(family: Family, fixed: int) -> Iterable[Stratum]:
    """Yield the strata of two objects that are compared by an attribute, which neither description names."""
    assert family.attribute is not None  # noqa: S101 - narrows the type
    without = fixed | BIT[family.attribute]
    for first in (1, 2, 3):
        for second in (1, 2, 3):
            pairs = [
                (p, q)
                for p in patterns(range(first, first + 1), without)
                for q in patterns(range(second, second + 1), without)
            ]
            if pairs:
                yield Stratum(family, tuple(pairs), 0, _YES_NO)


def _pair_strata(family: Family, fixed: int, things: int) -> Iterable[Stratum]:
    """Yield the strata of two sets of similar expected size; more alternatives mean fewer matching objects."""
    without = fixed | (BIT[family.attribute] if family.attribute else 0)
    named = patterns(range(1, 4), without)
    groups: defaultdict[tuple[int, int], list[tuple[int, ...]]] = defaultdict(list)
    for p in named:
        for q in named:
            sizes = COMBINATIONS[p], COMBINATIONS[q]
            if max(sizes) <= 2 * min(sizes):
                groups[sizes].append((p, q))
    counted = things - (family.attribute is not None or any(family.hops))
    if counted < 1:
        return
    for sizes, pairs in groups.items():
        yield Stratum(family, tuple(pairs), 0, _targets(family, min(sizes), counted))


def _targets(family: Family, alternatives: int, counted: int) -> tuple[AnswerTarget, ...]:
    """Return the answers of a stratum.

    Args:
        family: the family.
        alternatives: the number of different sets that divide a scene.
        counted: the greatest number of objects that a question can count.
    """
    if family.queried:
        return ATTRIBUTES[family.queried]
    if family.function == "exist":
        return _EXIST
    if family.function == "count":
        # A count that is very rare, or that no scene has, would block its stratum.
        most = next(most for limit, most in _GREATEST_COUNTS if alternatives <= limit)
        return _SIZES[
            : max(size for size in range(1, most + 1) if _is_common(size, alternatives, counted)) + 1
        ]
    return _YES_NO


def _is_common(size: int, alternatives: int, counted: int) -> bool:
    """Return True if scenes with ``size`` objects in one of the sets are not too rare to wait for.

    The expected number of groups of ``size`` objects that lie in one set, of ``counted`` objects that fall into
    ``alternatives`` sets by chance. One object is always in some set.
    """
    return size == 1 or math.comb(counted, size) / alternatives ** (size - 1) >= _RARE


class Rounds:
    """The answers that are due in each stratum."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._remaining: dict[Stratum, list[AnswerTarget]] = {}
        self._counts: Counter[Stratum] = Counter()

    def choose(self, options: Sequence[Stratum]) -> Stratum:
        """Choose the next stratum: a random one, or half of the time the less frequent of two random ones."""
        one, other = pick(self._random, options), pick(self._random, options)
        return other if self._random.random() < 0.5 and self._counts[other] < self._counts[one] else one

    def due(self, stratum: Stratum) -> Sequence[AnswerTarget]:
        """Return the allowed answers: the next one, or for attribute values all that are missing in the round."""
        if stratum not in self._remaining:
            self._remaining[stratum] = self._shuffled(stratum.targets)
        remaining = self._remaining[stratum]
        return remaining if stratum.family.queried else remaining[-1:]

    def record(self, stratum: Stratum, answer: str) -> None:
        """Record that a question with a due answer was generated."""
        self._counts[stratum] += 1
        remaining = self._remaining[stratum]
        remaining.remove(answer) if stratum.family.queried else remaining.pop()
        if not remaining:
            self._remaining[stratum] = self._shuffled(stratum.targets)

    def _shuffled(self, targets: tuple[AnswerTarget, ...]) -> list[AnswerTarget]:
        return sorted(targets, key=lambda _: self._random.random())
