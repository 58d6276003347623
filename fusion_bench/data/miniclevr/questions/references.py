"""References and sides: the objects and sets that questions refer to, found on a scene."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from fusion_bench.data.miniclevr.questions.phrases import Description, Phrase, Related
from fusion_bench.data.miniclevr.questions.view import View, patterns, pick
from fusion_bench.data.programs import RELATIONS

_REFERENCE_FILTERS = range(1, 4)
_BY_FILTERS = {
    (filters, without): patterns(range(filters, filters + 1), without)
    for filters in _REFERENCE_FILTERS
    for without in (0, 1, 2, 4, 8)
}

Candidates: TypeAlias = list[tuple[Description, int]]
"""Descriptions and the objects they pick out, as bits."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One object singled out by ``phrase``; ``mentioned``: every object on the way to it, as bits."""

    phrase: Phrase
    thing: int
    mentioned: int


@dataclass(frozen=True, slots=True)
class Side:
    """What one side of a union or comparison may be.

    Attributes:
        condition: the relation that all candidates share.
        candidates: descriptions and what they find under that condition.
        mentioned: objects that the condition mentions, as bits.
    """

    condition: Related | None
    candidates: Candidates
    mentioned: int = 0


class Finder:
    """Draws references and sides on one scene; None where an attempt leads nowhere."""

    def __init__(self, view: View, random: Random) -> None:
        self.view, self.facts, self.random = view, view.facts, random

    def reference(self, hops: int, filters: int = 0, without: int = 0) -> Reference | None:
        """Single out an object across ``hops`` relations, each of which is needed.

        Args:
            hops: length of the chain.
            filters: attributes that name the object; 0: any number.
            without: bits of attributes that must not name it.
        """
        filters = filters or pick(self.random, tuple(_REFERENCE_FILTERS))
        pattern = pick(self.random, _BY_FILTERS[filters, without])
        if hops == 0:
            return self._singled_out(pattern)
        before = self.reference(hops - 1)
        if before is None:
            return None
        related, options = self._found_by_relation(before, pattern)
        options = [(description, bit) for description, bit in options if not bit & before.mentioned]
        if not options:
            return None
        description, bit = pick(self.random, options)
        return Reference(Phrase(description, related), bit.bit_length() - 1, before.mentioned | bit)

    def _singled_out(self, pattern: int) -> Reference | None:
        options = self.view.singled_out[pattern]
        if not options:
            return None
        description, thing = pick(self.random, options)
        return Reference(Phrase(description), thing, 1 << thing)

    def relate(self, reference: Reference) -> tuple[Related, int]:
        """A relation to ``reference``, and the objects that stand in it, as bits."""
        relation = pick(self.random, RELATIONS)
        return Related(relation, reference.phrase), self.facts.related[relation][reference.thing]

    def _found_by_relation(self, reference: Reference, pattern: int) -> tuple[Related, Candidates]:
        """Descriptions that fit several objects, one of them in a relation to ``reference``."""
        related, members = self.relate(reference)
        options = []
        for description, fitting in self.view.fitting[pattern].items():
            found = fitting & members
            if found and not found & (found - 1) and found != fitting:
                options.append((description, found))
        return related, options

    def sets(self, pattern: int, hops: int) -> Side | None:
        """The sets that one side of a union or comparison of numbers may be, the empty one included."""
        if hops == 0:
            absent = self.view.absent(pattern, self.random)
            empty = [] if absent is None else [(absent, 0)]
            return Side(None, [*self.view.fitting[pattern].items(), *empty])
        reference = self.reference(0)
        if reference is None:
            return None
        related, members = self.relate(reference)
        fitting = self.view.fitting[pattern].items()
        options = [(description, bits & members) for description, bits in fitting if bits & ~members]
        return Side(related, options, reference.mentioned) if options else None

    def things(self, pattern: int, hops: int) -> Side | None:
        """The single objects that one side of a comparison by an attribute may be."""
        if hops == 0:
            options = [(description, 1 << thing) for description, thing in self.view.singled_out[pattern]]
            return Side(None, options) if options else None
        reference = self.reference(0)
        if reference is None:
            return None
        related, options = self._found_by_relation(reference, pattern)
        return Side(related, options, reference.mentioned) if options else None
