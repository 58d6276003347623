"""Sampling of questions on a scene with a required answer, without degenerate questions.

A question is rejected if a part of it is unnecessary: a relation (or "same ... as") whose removal does not change the
set; an object of the answer that the question itself mentions; a filter on the attribute that is queried or shared; a
union or comparison of a set with a subset of it.
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
from fusion_bench.data.miniclevr.questions.references import ReferenceSampler, Side
from fusion_bench.data.miniclevr.questions.strata import AnswerTarget, Stratum
from fusion_bench.data.miniclevr.questions.view import BIT, NAMES, SceneView, pick
from fusion_bench.data.programs import ATTRIBUTES, Facts


@dataclass(frozen=True, slots=True)
class SampledQuestion:
    """A question before it is written in English: its sets and its answer."""

    phrases: tuple[Phrase, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class _Members:
    """The objects from which a description selects a subset.

    Attributes:
        condition: the condition that these objects fulfil; None for all objects of the scene.
        bits: the objects as a bit set.
        wider: the bit sets without one of the relations; with each of them, the result must differ.
        excluded: objects that must not be in the result.
        unmatched: objects that the description must not match.
    """

    condition: PhraseCondition | None
    bits: int
    wider: tuple[int, ...] = ()
    excluded: int = 0
    unmatched: int = 0


def sample_question(
    stratum: Stratum, due: Sequence[AnswerTarget], view: SceneView, random: Random
) -> SampledQuestion | None:
    """Sample a question of a stratum about a scene.

    Args:
        stratum: the stratum of the question.
        due: the allowed answers.
        view: the scene.
        random: the source of randomness.

    Returns:
        The question; None if this attempt failed.
    """
    sampler = ReferenceSampler(view, random)
    patterns = pick(random, stratum.patterns)
    form = stratum.family.form
    if form in _PAIR_FORMS:
        sides_of = sampler.things if form == "attributes" else sampler.sets
        sides = [sides_of(pattern, hops) for pattern, hops in zip(patterns, stratum.family.hops, strict=True)]
        if sides[0] is None or sides[1] is None:
            return None
        return _PAIR_FORMS[form](sampler, stratum.family, (sides[0], sides[1]), due[0])
    members = _SET_FORMS[form](sampler, stratum)
    return None if members is None else _describe(sampler, stratum.family, patterns[0], members, due)


def _hops(sampler: ReferenceSampler, stratum: Stratum) -> _Members | None:
    everything = sampler.facts.everything
    (hops,) = stratum.family.hops
    if hops == 0:
        return _Members(None, everything)
    reference = sampler.reference(hops - 1, stratum.filters)
    if reference is None:
        return None
    related, bits = sampler.relate(reference)
    return _Members(related, bits, (everything,), excluded=reference.mentioned)


def _both(sampler: ReferenceSampler, stratum: Stratum) -> _Members | None:
    del stratum
    one, other = sampler.reference(0), sampler.reference(0)
    if one is None or other is None or one.thing == other.thing:
        return None
    (first, some), (second, others) = sampler.relate(one), sampler.relate(other)
    if first.relation == second.relation:
        return None
    return _Members(Both(first, second), some & others, (some, others))


def _same(sampler: ReferenceSampler, stratum: Stratum) -> _Members | None:
    attribute = _attribute(stratum.family)
    reference = sampler.reference(0, stratum.filters, without=BIT[attribute])
    if reference is None:
        return None
    # If the description matched the reference too, the text would need the word "other", a hint at the answer.
    unmatched = reference.mentioned if stratum.family.described else 0
    bits = sampler.facts.same[attribute][reference.thing]
    return _Members(Same(attribute, reference.phrase), bits, (sampler.facts.everything,), unmatched=unmatched)


def _describe(
    sampler: ReferenceSampler, family: Family, pattern: int, members: _Members, due: Sequence[AnswerTarget]
) -> SampledQuestion | None:
    """Describe a subset of ``members`` by the attributes of ``pattern``, so that the answer is due."""
    facts = sampler.facts
    if members.condition is None and isinstance(due[0], range) and 0 in due[0]:
        absent = sampler.view.absent(pattern, sampler.random)
        return None if absent is None else SampledQuestion((Phrase(absent),), _answer(family, facts, 0))
    is_accepted = _is_due_object(facts, due) if family.queried else _has_due_size(due)
    options = [
        (description, found)
        for description, matching in sampler.view.matching[pattern].items()
        if is_accepted(found := matching & members.bits)
        and not found & members.excluded
        and not matching & members.unmatched
        and all(matching & wider != found for wider in members.wider)
    ]
    if not options:
        return None
    description, found = pick(sampler.random, options)
    return SampledQuestion((Phrase(description, members.condition),), _answer(family, facts, found))


def _either(
    sampler: ReferenceSampler, family: Family, sides: tuple[Side, Side], target: AnswerTarget
) -> SampledQuestion | None:
    assert isinstance(target, range)  # noqa: S101 - unions are counted
    common, matching = ANYTHING, sampler.facts.everything
    if family.attribute:
        value = pick(sampler.random, ATTRIBUTES[family.attribute])
        matching = sampler.facts.having[value]
        size, color, material, shape = (value if name == family.attribute else None for name in NAMES)
        common = (size, color, material, shape)
    one, some = _sample_set(sampler, sides[0])
    options = [
        (other, union & matching)
        for other, bits in sides[1].candidates
        if ((union := some | bits) & matching).bit_count() in target
        and not _nested(one, other)
        and (family.attribute is None or union & ~matching)
    ]
    if not options:
        return None
    other, found = pick(sampler.random, options)
    either = Either(Phrase(one, sides[0].condition), Phrase(other, sides[1].condition))
    return SampledQuestion((Phrase(common, either),), str(found.bit_count()))


def _integers(
    sampler: ReferenceSampler, family: Family, sides: tuple[Side, Side], target: AnswerTarget
) -> SampledQuestion | None:
    one, some = _sample_set(sampler, sides[0])
    options = [
        other
        for other, bits in sides[1].candidates
        if _compare(family.function, some.bit_count(), bits.bit_count()) == target
        and (some or bits)
        and not _nested(one, other)
    ]
    return _compared(sampler, sides, one, options, target)


def _attributes(
    sampler: ReferenceSampler, family: Family, sides: tuple[Side, Side], target: AnswerTarget
) -> SampledQuestion | None:
    firsts = [entry for entry in sides[0].candidates if not entry[1] & sides[1].mentioned]
    if not firsts:
        return None
    one, bit = pick(sampler.random, firsts)
    equal = sampler.facts.same[_attribute(family)][bit.bit_length() - 1]
    allowed = (equal if target == "yes" else ~equal & ~bit) & ~sides[0].mentioned
    options = [other for other, found in sides[1].candidates if found & allowed]
    return _compared(sampler, sides, one, options, target)


def _compared(
    sampler: ReferenceSampler,
    sides: tuple[Side, Side],
    one: Description,
    options: list[Description],
    target: AnswerTarget,
) -> SampledQuestion | None:
    if not options:
        return None
    other = pick(sampler.random, options)
    return SampledQuestion((Phrase(one, sides[0].condition), Phrase(other, sides[1].condition)), str(target))


_SET_FORMS: dict[str, Callable[[ReferenceSampler, Stratum], _Members | None]] = {
    "hops": _hops,
    "both": _both,
    "same": _same,
}
_PAIR_FORMS: dict[
    str, Callable[[ReferenceSampler, Family, tuple[Side, Side], AnswerTarget], SampledQuestion | None]
] = {
    "either": _either,
    "integers": _integers,
    "attributes": _attributes,
}


def _sample_set(sampler: ReferenceSampler, side: Side) -> tuple[Description, int]:
    """Sample one of a side's sets; all sizes are equally likely, so that large sets are not rare."""
    size = pick(sampler.random, sorted({bits.bit_count() for _, bits in side.candidates}))
    return pick(sampler.random, [entry for entry in side.candidates if entry[1].bit_count() == size])


def _attribute(family: Family) -> str:
    assert family.attribute is not None  # noqa: S101 - narrows the type
    return family.attribute


def _is_due_object(facts: Facts, due: Sequence[AnswerTarget]) -> Callable[[int], bool]:
    """Return a test for sets of one object whose queried value is due."""
    things = 0
    for value in due:
        things |= facts.having[str(value)]
    return lambda found: bool(found & things) and not found & (found - 1)


def _has_due_size(due: Sequence[AnswerTarget]) -> Callable[[int], bool]:
    """Return a test for sets whose size is due."""
    (sizes,) = due
    assert isinstance(sizes, range)  # noqa: S101 - narrows the type
    return lambda found: found.bit_count() in sizes


def _answer(family: Family, facts: Facts, found: int) -> str:
    if family.queried:
        return facts.values[family.queried][found.bit_length() - 1]
    if family.function == "exist":
        return "yes" if found else "no"
    return str(found.bit_count())


def _compare(function: str, first: int, second: int) -> str:
    holds = {"equal_integer": first == second, "less_than": first < second, "greater_than": first > second}
    return "yes" if holds[function] else "no"


def _nested(first: Description, second: Description) -> bool:
    """Return True if one description equals or narrows the other."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    return all(a is None for a, _ in pairs) or all(b is None for _, b in pairs)
