"""Questions drawn on a scene so that they have an answer that is due, and no degenerate ones.

Refused is whatever would make part of a question idle: a relation (or "same ... as") whose removal leaves
the set as it was, an object asked about that the question itself has already mentioned, a filter on the
attribute that is asked for or shared, a union or comparison of a set with a part of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from fusion_bench.data.miniclevr.questions.families import Family
from fusion_bench.data.miniclevr.questions.phrases import (
    ANYTHING,
    Both,
    Description,
    Either,
    Phrase,
    PhraseCondition,
    Same,
)
from fusion_bench.data.miniclevr.questions.references import Finder, Side
from fusion_bench.data.miniclevr.questions.strata import AnswerTarget, Stratum
from fusion_bench.data.miniclevr.questions.view import BIT, NAMES, View, pick
from fusion_bench.data.programs import ATTRIBUTES, Facts


@dataclass(frozen=True, slots=True)
class Drawn:
    """A question before it is worded: its sets, and its answer worked out on the way."""

    phrases: tuple[Phrase, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class _Members:
    """Objects among which a description has to find some.

    Attributes:
        condition: how they are worded; None: all of the scene.
        bits: the objects.
        dropped: what ``bits`` would be with a relation left out; each must make a difference.
        unmentioned: objects that must not be found.
        unfitting: objects that the description must not fit.
    """

    condition: PhraseCondition | None
    bits: int
    dropped: tuple[int, ...] = ()
    unmentioned: int = 0
    unfitting: int = 0


def sample_question(cell: Stratum, due: Sequence[AnswerTarget], view: View, random: Random) -> Drawn | None:
    """One question of ``cell`` about ``view`` with an answer that is ``due``; None if this attempt failed."""
    finder = Finder(view, random)
    patterns = pick(random, cell.patterns)
    form = cell.family.form
    if form in _PAIRS:
        listing = finder.things if form == "attributes" else finder.sets
        sides = [listing(pattern, hops) for pattern, hops in zip(patterns, cell.family.hops, strict=True)]
        if sides[0] is None or sides[1] is None:
            return None
        return _PAIRS[form](finder, cell.family, (sides[0], sides[1]), due[0])
    members = _SETS[form](finder, cell)
    return None if members is None else _describe(finder, cell.family, patterns[0], members, due)


def _hops(finder: Finder, cell: Stratum) -> _Members | None:
    everything = finder.facts.everything
    (hops,) = cell.family.hops
    if hops == 0:
        return _Members(None, everything)
    reference = finder.reference(hops - 1, cell.filters)
    if reference is None:
        return None
    related, bits = finder.relate(reference)
    return _Members(related, bits, (everything,), unmentioned=reference.mentioned)


def _both(finder: Finder, cell: Stratum) -> _Members | None:
    del cell
    one, other = finder.reference(0), finder.reference(0)
    if one is None or other is None or one.thing == other.thing:
        return None
    (first, some), (second, others) = finder.relate(one), finder.relate(other)
    if first.relation == second.relation:
        return None
    return _Members(Both(first, second), some & others, (some, others))


def _same(finder: Finder, cell: Stratum) -> _Members | None:
    attribute = _attribute(cell.family)
    reference = finder.reference(0, cell.filters, without=BIT[attribute])
    if reference is None:
        return None
    # "Other" would have to be said if the reference fitted too, and would hint at the answer.
    unfitting = reference.mentioned if cell.family.described else 0
    bits = finder.facts.same[attribute][reference.thing]
    return _Members(Same(attribute, reference.phrase), bits, (finder.facts.everything,), unfitting=unfitting)


def _describe(
    finder: Finder, family: Family, pattern: int, members: _Members, due: Sequence[AnswerTarget]
) -> Drawn | None:
    """Describe a part of ``members`` by the attributes of ``pattern`` so that the answer is due."""
    facts = finder.facts
    if members.condition is None and isinstance(due[0], range) and 0 in due[0]:
        absent = finder.view.absent(pattern, finder.random)
        return None if absent is None else Drawn((Phrase(absent),), _answer(family, facts, 0))
    accepts = _single(facts, due) if family.queried else _sized(due)
    options = [
        (description, found)
        for description, fitting in finder.view.fitting[pattern].items()
        if accepts(found := fitting & members.bits)
        and not found & members.unmentioned
        and not fitting & members.unfitting
        and all(fitting & wider != found for wider in members.dropped)
    ]
    if not options:
        return None
    description, found = pick(finder.random, options)
    return Drawn((Phrase(description, members.condition),), _answer(family, facts, found))


def _either(finder: Finder, family: Family, sides: tuple[Side, Side], target: AnswerTarget) -> Drawn | None:
    assert isinstance(target, range)  # noqa: S101 - unions are counted
    common, fitting = ANYTHING, finder.facts.everything
    if family.attribute:
        value = pick(finder.random, ATTRIBUTES[family.attribute])
        fitting = finder.facts.having[value]
        size, color, material, shape = (value if name == family.attribute else None for name in NAMES)
        common = (size, color, material, shape)
    one, some = _first(finder, sides[0])
    options = [
        (other, union & fitting)
        for other, bits in sides[1].candidates
        if ((union := some | bits) & fitting).bit_count() in target
        and not _nested(one, other)
        and (family.attribute is None or union & ~fitting)
    ]
    if not options:
        return None
    other, found = pick(finder.random, options)
    either = Either(Phrase(one, sides[0].condition), Phrase(other, sides[1].condition))
    return Drawn((Phrase(common, either),), str(found.bit_count()))


def _integers(finder: Finder, family: Family, sides: tuple[Side, Side], target: AnswerTarget) -> Drawn | None:
    one, some = _first(finder, sides[0])
    options = [
        other
        for other, bits in sides[1].candidates
        if _compare(family.asks, some.bit_count(), bits.bit_count()) == target
        and (some or bits)
        and not _nested(one, other)
    ]
    return _compared(finder, sides, one, options, target)


def _attributes(
    finder: Finder, family: Family, sides: tuple[Side, Side], target: AnswerTarget
) -> Drawn | None:
    firsts = [entry for entry in sides[0].candidates if not entry[1] & sides[1].mentioned]
    if not firsts:
        return None
    one, bit = pick(finder.random, firsts)
    alike = finder.facts.same[_attribute(family)][bit.bit_length() - 1]
    wanted = (alike if target == "yes" else ~alike & ~bit) & ~sides[0].mentioned
    options = [other for other, found in sides[1].candidates if found & wanted]
    return _compared(finder, sides, one, options, target)


def _compared(
    finder: Finder,
    sides: tuple[Side, Side],
    one: Description,
    options: list[Description],
    target: AnswerTarget,
) -> Drawn | None:
    if not options:
        return None
    other = pick(finder.random, options)
    return Drawn((Phrase(one, sides[0].condition), Phrase(other, sides[1].condition)), str(target))


_SETS: dict[str, Callable[[Finder, Stratum], _Members | None]] = {"hops": _hops, "both": _both, "same": _same}
_PAIRS: dict[str, Callable[[Finder, Family, tuple[Side, Side], AnswerTarget], Drawn | None]] = {
    "either": _either,
    "integers": _integers,
    "attributes": _attributes,
}


def _first(finder: Finder, side: Side) -> tuple[Description, int]:
    """One of a side's sets; every size is as likely, so that larger ones are not drowned."""
    size = pick(finder.random, sorted({bits.bit_count() for _, bits in side.candidates}))
    return pick(finder.random, [entry for entry in side.candidates if entry[1].bit_count() == size])


def _attribute(family: Family) -> str:
    assert family.attribute is not None  # noqa: S101 - narrows the type
    return family.attribute


def _single(facts: Facts, due: Sequence[AnswerTarget]) -> Callable[[int], bool]:
    """Sets of one object whose queried value is due."""
    things = 0
    for value in due:
        things |= facts.having[str(value)]
    return lambda found: bool(found & things) and not found & (found - 1)


def _sized(due: Sequence[AnswerTarget]) -> Callable[[int], bool]:
    """Sets of a size that is due."""
    (sizes,) = due
    assert isinstance(sizes, range)  # noqa: S101 - narrows the type
    return lambda found: found.bit_count() in sizes


def _answer(family: Family, facts: Facts, found: int) -> str:
    if family.queried:
        return facts.values[family.queried][found.bit_length() - 1]
    if family.asks == "exist":
        return "yes" if found else "no"
    return str(found.bit_count())


def _compare(asks: str, first: int, second: int) -> str:
    holds = {"equal_integer": first == second, "less_than": first < second, "greater_than": first > second}
    return "yes" if holds[asks] else "no"


def _nested(first: Description, second: Description) -> bool:
    """Whether one description only repeats or narrows the other."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    return all(a is None for a, _ in pairs) or all(b is None for _, b in pairs)
