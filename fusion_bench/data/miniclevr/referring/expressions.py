"""Referring expressions that identify one object of a scene and contain no unnecessary word.

An object is described by a combination of attributes that no other object has, or by attributes that others share and
a relation that only this object has. Both forms are equally likely where a scene allows both. Every number of
attributes is equally likely too, so that long descriptions are as frequent as short ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from fusion_bench.data.miniclevr.questions.phrases import ANYTHING, Phrase, Related, reference_program
from fusion_bench.data.miniclevr.questions.templates import write_expression
from fusion_bench.data.miniclevr.questions.view import NAMES, SceneView, fixed_bits, patterns, pick
from fusion_bench.data.programs import RELATIONS, Facts, find
from fusion_bench.errors import FusionBenchError

SENTENCES_PER_THING = 2
"""Number of sentences per object, where the scene allows this many."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One sentence about an object.

    Attributes:
        thing: number of the object.
        phrase: the description.
        text: the English text.
    """

    thing: int
    phrase: Phrase
    text: str


def generate_expressions(
    facts: Facts, sentences: int, relations: bool, random: Random, attributes: Sequence[str] = NAMES
) -> list[Expression]:
    """Return different sentences about a scene; sentences about the same object are adjacent.

    All objects are equally likely, except those that no expression identifies.

    Args:
        facts: the facts of the scene.
        sentences: the greatest number of sentences.
        relations: True if objects may be described by a relation.
        random: the source of objects, phrases and words.
        attributes: the attributes that vary; no sentence names another one.

    Raises:
        FusionBenchError: a phrase does not identify its object (an error in this module).
    """
    describer = _Describer(SceneView(facts, fixed_bits(attributes)), relations)
    expressions: list[Expression] = []
    for thing in sorted(range(facts.everything.bit_length()), key=lambda _: random.random()):
        missing = min(SENTENCES_PER_THING, sentences - len(expressions))
        for phrase in describer.phrases(thing, missing, random):
            if find(reference_program(phrase), facts) != thing:
                raise FusionBenchError(f"the phrase {phrase} does not identify object {thing}")
            expressions.append(Expression(thing, phrase, write_expression(phrase, random)))
    return expressions


class _Describer:
    """The phrases that identify the objects of one scene."""

    def __init__(self, view: SceneView, relations: bool) -> None:
        self._facts = view.facts
        self._matches = view.matching
        self._relations = RELATIONS if relations else ()
        self._patterns = sorted(patterns(range(5), view.fixed), key=int.bit_count)
        self._identifying: defaultdict[int, list[Phrase]] = defaultdict(list)
        self._minimal: defaultdict[int, list[Phrase]] = defaultdict(list)
        minimal: defaultdict[int, list[int]] = defaultdict(list)
        for pattern in self._patterns:
            for description, thing in view.identifying[pattern]:
                self._identifying[thing].append(Phrase(description))
                if not _contains_any(pattern, minimal[thing]):
                    minimal[thing].append(pattern)
                    self._minimal[thing].append(Phrase(description))

    def phrases(self, thing: int, number: int, random: Random) -> Iterator[Phrase]:
        """Yield at most ``number`` different phrases that identify an object."""
        kinds = [self._minimal[thing], list(self._related(thing))]
        redundant = [phrase for phrase in self._identifying[thing] if phrase not in kinds[0]]
        for _ in range(number):
            # A description with an unnecessary word is used only if no other is left.
            options = [kind for kind in kinds if kind] or [kind for kind in (redundant,) if kind]
            if not options:
                return
            kind = pick(random, options)
            length = pick(random, sorted({_attribute_count(phrase) for phrase in kind}))
            phrase = pick(random, [phrase for phrase in kind if _attribute_count(phrase) == length])
            kind.remove(phrase)
            yield phrase

    def _related(self, thing: int) -> Iterator[Phrase]:
        """Yield phrases of attributes that other objects share and a relation that none of these has."""
        bit = 1 << thing
        shared = [
            (pattern, description, bits)
            for pattern in self._patterns
            for description, bits in self._matches[pattern].items()
            if bits & bit and bits != bit
        ]
        for relation in self._relations:
            for other, references in self._minimal.items():
                minimal: list[int] = []
                related = self._facts.related[relation][other]
                for pattern, description, bits in shared:
                    if bits & related == bit and not _contains_any(pattern, minimal):
                        minimal.append(pattern)
                        for reference in references:
                            if reference.description != ANYTHING:
                                yield Phrase(description, Related(relation, reference))


def _contains_any(pattern: int, patterns: Sequence[int]) -> bool:
    return any(pattern & part == part for part in patterns)


def _attribute_count(phrase: Phrase) -> int:
    """Return the number of attributes that the phrase names of the object itself."""
    return sum(value is not None for value in phrase.description)
