"""Expressions that single out one thing of a scene, no word of which could be left away.

A thing is described by attributes that no other has together, or by some that others share and a relation that
it alone stands in. Both are as likely where a scene allows both, and so is every number of attributes, so
that long descriptions are not drowned by short ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from fusion_bench.data.miniclevr.questions.phrases import ANYTHING, Phrase, Related, referring
from fusion_bench.data.miniclevr.questions.templates import write_expression
from fusion_bench.data.miniclevr.questions.view import PATTERNS, View, pick
from fusion_bench.data.programs import RELATIONS, Facts, find
from fusion_bench.errors import FusionBenchError

SENTENCES = 2
"""Sentences about one thing, where the scene allows so many."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One sentence: the number of the thing that it speaks of, what it says, and how."""

    thing: int
    phrase: Phrase
    text: str


def generate_expressions(facts: Facts, sentences: int, relations: bool, random: Random) -> list[Expression]:
    """Sentences about a scene, no two alike, those about one thing side by side.

    Every thing is as likely to be spoken of as any other, except those that cannot be told apart.

    Args:
        facts: the scene.
        sentences: at most so many.
        relations: whether a thing may be described by where it stands.
        random: draws things, phrases and words.

    Raises:
        FusionBenchError: a phrase does not single out its thing (a defect of this module).
    """
    describer = _Describer(View(facts), relations)
    expressions: list[Expression] = []
    for thing in sorted(range(facts.everything.bit_length()), key=lambda _: random.random()):
        due = min(SENTENCES, sentences - len(expressions))
        for phrase in describer.phrases(thing, due, random):
            if find(referring(phrase), facts) != thing:
                raise FusionBenchError(f"the phrase {phrase} does not single out thing {thing}")
            expressions.append(Expression(thing, phrase, write_expression(phrase, random)))
    return expressions


class _Describer:
    def __init__(self, view: View, relations: bool) -> None:
        self._facts = view.facts
        self._fitting = view.fitting
        self._relations = RELATIONS if relations else ()
        self._named: defaultdict[int, list[Phrase]] = defaultdict(list)
        self._shorter: defaultdict[int, list[Phrase]] = defaultdict(list)
        short: defaultdict[int, list[int]] = defaultdict(list)
        for pattern in sorted(PATTERNS, key=int.bit_count):
            for description, thing in view.singled_out[pattern]:
                self._named[thing].append(Phrase(description))
                if not _includes_one_of(pattern, short[thing]):
                    short[thing].append(pattern)
                    self._shorter[thing].append(Phrase(description))

    def phrases(self, thing: int, number: int, random: Random) -> Iterator[Phrase]:
        """At most ``number`` different phrases that single out a thing."""
        kinds = [self._shorter[thing], list(self._related(thing))]
        spare = [phrase for phrase in self._named[thing] if phrase not in kinds[0]]
        for _ in range(number):
            # A description with a word to spare only where nothing better is left.
            options = [kind for kind in kinds if kind] or [kind for kind in (spare,) if kind]
            if not options:
                return
            kind = pick(random, options)
            length = pick(random, sorted({_words(phrase) for phrase in kind}))
            phrase = pick(random, [phrase for phrase in kind if _words(phrase) == length])
            kind.remove(phrase)
            yield phrase

    def _related(self, thing: int) -> Iterator[Phrase]:
        """Attributes that others have too, with a relation to another thing that none of those stands in."""
        bit = 1 << thing
        of_thing = [
            (pattern, description, bits)
            for pattern in sorted(PATTERNS, key=int.bit_count)
            for description, bits in self._fitting[pattern].items()
            if bits & bit and bits != bit
        ]
        for relation in self._relations:
            for other, references in self._shorter.items():
                short: list[int] = []
                standing = self._facts.related[relation][other]
                for pattern, description, bits in of_thing:
                    if bits & standing == bit and not _includes_one_of(pattern, short):
                        short.append(pattern)
                        for reference in references:
                            if reference.description != ANYTHING:
                                yield Phrase(description, Related(relation, reference))


def _includes_one_of(pattern: int, patterns: Sequence[int]) -> bool:
    return any(pattern & part == part for part in patterns)


def _words(phrase: Phrase) -> int:
    """Attributes that are named of the thing itself."""
    return sum(value is not None for value in phrase.description)
