"""Sampling of the objects and sets that a question about a scene refers to."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from fusion_bench.data.miniclevr.questions.phrases import Description, Phrase, Related
from fusion_bench.data.miniclevr.questions.view import PATTERNS, SceneView, patterns, pick, reference_filters
from fusion_bench.data.programs import RELATIONS

_BY_FILTERS = {
    (filters, without): patterns(range(filters, filters + 1), without)
    for without in PATTERNS
    for filters in reference_filters(without)
}

Candidates: TypeAlias = list[tuple[Description, int]]
"""Descriptions with the objects that they match, as bit sets."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One object that ``phrase`` identifies.

    Attributes:
        phrase: the phrase.
        thing: number of the object.
        mentioned: all objects that the phrase mentions, as a bit set.
    """

    phrase: Phrase
    thing: int
    mentioned: int


@dataclass(frozen=True, slots=True)
class Side:
    """The candidates for one side of a union or comparison.

    Attributes:
        condition: the relation that all candidates share; None for none.
        candidates: descriptions with the objects that they match under this condition.
        mentioned: objects that the condition mentions, as a bit set.
    """

    condition: Related | None
    candidates: Candidates
    mentioned: int = 0


class ReferenceSampler:
    """A sampler of references and sides on one scene; its methods return None if an attempt fails."""

    def __init__(self, view: SceneView, random: Random) -> None:
        self.view, self.facts, self.random = view, view.facts, random

    def reference(self, hops: int, filters: int = 0, without: int = 0) -> Reference | None:
        """Sample an object that is identified by a chain of ``hops`` relations, each of which is necessary.

        Args:
            hops: length of the chain.
            filters: number of attributes that describe the object; 0 for any number.
            without: bits of attributes that must not describe it.
        """
        without |= self.view.fixed
        filters = filters or pick(self.random, reference_filters(without))
        pattern = pick(self.random, _BY_FILTERS[filters, without])
        if hops == 0:
            return self._identified(pattern)
        previous = self.reference(hops - 1)
        if previous is None:
            return None
        related, options = self._found_by_relation(previous, pattern)
        options = [(description, bit) for description, bit in options if not bit & previous.mentioned]
        if not options:
            return None
        description, bit = pick(self.random, options)
        return Reference(Phrase(description, related), bit.bit_length() - 1, previous.mentioned | bit)

    def _identified(self, pattern: int) -> Reference | None:
        options = self.view.identifying[pattern]
        if not options:
            return None
        description, thing = pick(self.random, options)
        return Reference(Phrase(description), thing, 1 << thing)

    def relate(self, reference: Reference) -> tuple[Related, int]:
        """Sample a relation to ``reference``; return it with the objects in that relation, as a bit set."""
        relation = pick(self.random, RELATIONS)
        return Related(relation, reference.phrase), self.facts.related[relation][reference.thing]

    def _found_by_relation(self, reference: Reference, pattern: int) -> tuple[Related, Candidates]:
        """Sample a relation; return it with descriptions of several objects, of which one is in this relation."""
        related, members = self.relate(reference)
        options = []
        for description, matching in self.view.matching[pattern].items():
            matched = matching & members
            if matched and not matched & (matched - 1) and matched != matching:
                options.append((description, matched))
        return related, options

    def sets(self, pattern: int, hops: int) -> Side | None:
        """Return the candidate sets for one side of a union or of a comparison of sizes, including the empty set."""
        if hops == 0:
            absent = self.view.absent(pattern, self.random)
            empty = [] if absent is None else [(absent, 0)]
            return Side(None, [*self.view.matching[pattern].items(), *empty])
        reference = self.reference(0)
        if reference is None:
            return None
        related, members = self.relate(reference)
        matching = self.view.matching[pattern].items()
        options = [(description, bits & members) for description, bits in matching if bits & ~members]
        return Side(related, options, reference.mentioned) if options else None

    def things(self, pattern: int, hops: int) -> Side | None:
        """Return the candidate objects for one side of a comparison of attributes."""
        if hops == 0:
            options = [(description, 1 << thing) for description, thing in self.view.identifying[pattern]]
            return Side(None, options) if options else None
        reference = self.reference(0)
        if reference is None:
            return None
        related, options = self._found_by_relation(reference, pattern)
        return Side(related, options, reference.mentioned) if options else None
