"""English templates for questions and expressions: several sentences per question, with CLEVR's synonyms.

Templates and synonyms are drawn independently of the answer, so that they do not predict it. A question can also be
written plainly: by the one sentence of its family, with the first of all synonyms and without optional words.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal, TypeAlias

from fusion_bench.data.miniclevr.questions.families import Family
from fusion_bench.data.miniclevr.questions.phrases import ANYTHING, Both, Either, Phrase, Related, Same
from fusion_bench.data.miniclevr.questions.view import pick

Wordings: TypeAlias = Literal["one", "all"]
"""All sentences, synonyms and optional words, or one sentence for each family (`write_plain_question`)."""

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "large": ("large", "big"),
    "small": ("small", "tiny"),
    "rubber": ("rubber", "matte"),
    "metal": ("metal", "metallic", "shiny"),
    "cube": ("cube", "block"),
    "sphere": ("sphere", "ball"),
}
_NOUNS = ("thing", "object")
_RELATIONS: dict[str, tuple[str, ...]] = {
    "left": ("left of", "to the left of", "on the left side of"),
    "right": ("right of", "to the right of", "on the right side of"),
    "behind": ("behind",),
    "front": ("in front of",),
}

# Fields: {S} the set in the plural, {O} the object, {A} the object with its article; {s} and {a} the same without
# the condition; {where} the condition; {relation}, {reference} and {one} (the reference with its article) if the
# condition is one relation; {T} and {P} the second set and the second object.
_COUNT = ("How many {S} are there?", "What number of {S} are there?")
_COUNT_WHERE = ("How many {s} are {where}?", "What number of {s} are {where}?")
_COUNT_IT = (
    "There is {one}; how many {s} are {relation} it?",
    "There is {one}; what number of {s} are {relation} it?",
)
_EXIST = ("Are there any {S}?", "Is there {A}?")
_EXIST_ALONE = ("Are any {S} visible?", "Is there {A} visible?")
_EXIST_IT = (
    "There is {one}; are there any {s} {relation} it?",
    "There is {one}; is there {a} {relation} it?",
)
_EXIST_ELSE = ("Is there anything else {where}?", "Is anything else {where}?")
_QUERY: dict[str, tuple[str, ...]] = {
    "size": (
        "What size is the {O}?",
        "How big is the {O}?",
        "What is the size of the {O}?",
        "There is {A}; how big is it?",
        "There is {A}; what is its size?",
    ),
    "color": (
        "What color is the {O}?",
        "What is the color of the {O}?",
        "The {O} has what color?",
        "There is {A}; what color is it?",
        "There is {A}; what is its color?",
    ),
    "material": (
        "What is the {O} made of?",
        "What material is the {O} made of?",
        "What is the material of the {O}?",
        "There is {A}; what material is it made of?",
        "There is {A}; what is it made of?",
    ),
    "shape": (
        "What shape is the {O}?",
        "What is the shape of the {O}?",
        "The {O} has what shape?",
        "There is {A}; what shape is it?",
        "There is {A}; what is its shape?",
    ),
}
_INTEGERS: dict[str, tuple[str, ...]] = {
    "equal_integer": (
        "Are there the same number of {S} and {T}?",
        "Are there an equal number of {S} and {T}?",
        "Is the number of {S} the same as the number of {T}?",
    ),
    "less_than": ("Are there fewer {S} than {T}?", "Is the number of {S} less than the number of {T}?"),
    "greater_than": ("Are there more {S} than {T}?", "Is the number of {S} greater than the number of {T}?"),
}
_ATTRIBUTES = (
    "Does the {O} have the same {attribute} as the {P}?",
    "Do the {O} and the {P} have the same {attribute}?",
    "Is the {attribute} of the {O} the same as the {P}?",
)
_SAME_AS = "Is the {O} the same {attribute} as the {P}?"
_MADE_OF = (
    "Is the {O} made of the same material as the {P}?",
    "Are the {O} and the {P} made of the same material?",
)


def write_question(family: Family, phrases: tuple[Phrase, ...], random: Random) -> str:
    """Write a question in English.

    Args:
        family: the family of the question.
        phrases: its one or two sets.
        random: the source of sentences, synonyms and optional words.
    """
    writer = _Writer(random)
    sentence = writer.choose(_sentences(family, phrases[0]))
    return sentence.format_map(_Fields(family, phrases, writer))


def write_plain_question(family: Family, phrases: tuple[Phrase, ...]) -> str:
    """Write a question by the one sentence of its family, without synonyms and optional words.

    Args:
        family: the family of the question.
        phrases: its one or two sets.
    """
    counted = family.function == "count" and phrases[0].condition is not None
    # "How many cubes are left of it?" rather than "How many cubes left of it are there?"
    (sentence, *_) = _COUNT_WHERE if counted else _sentences(family, phrases[0])
    return sentence.format_map(_Fields(family, phrases, _Writer(None)))


def write_expression(phrase: Phrase, random: Random) -> str:
    """Write a phrase as a referring expression, such as "the small metal thing left of the blue sphere"."""
    return f"the {_Writer(random).noun(phrase)}"


def _sentences(family: Family, phrase: Phrase) -> tuple[str, ...]:
    if family.form == "integers":
        return _INTEGERS[family.function]
    if family.form == "attributes":
        return (*_ATTRIBUTES, *(_MADE_OF if family.attribute == "material" else (_SAME_AS,)))
    if family.queried:
        return _QUERY[family.queried]
    related = isinstance(phrase.condition, Related)
    if family.function == "count":
        if isinstance(phrase.condition, Either):
            return _COUNT_WHERE
        alone = _COUNT if phrase.condition is None else (*_COUNT, *_COUNT_WHERE)
        return (*alone, *_COUNT_IT) if related else alone
    if phrase.condition is None:
        return (*_EXIST, *_EXIST_ALONE)
    if related:
        return (*_EXIST, *_EXIST_IT)
    return _EXIST if family.described else (*_EXIST, *_EXIST_ELSE)


class _Fields(dict[str, str]):
    """The fields of a sentence, written only when the sentence uses them, so that no other random number is drawn."""

    def __init__(self, family: Family, phrases: tuple[Phrase, ...], writer: _Writer) -> None:
        super().__init__()
        self._family, self._phrases, self._writer = family, phrases, writer

    def __missing__(self, field: str) -> str:
        phrase, writer = self._phrases[0], self._writer
        match field:
            case "S":
                return writer.noun(phrase, plural=True)
            case "O":
                return writer.noun(phrase)
            case "A":
                return _with_article(writer.noun(phrase))
            case "s":
                return writer.bare(phrase, plural=True)
            case "a":
                return _with_article(writer.bare(phrase))
            case "where":
                return writer.where(phrase)
            case "T":
                return writer.noun(self._phrases[1], plural=True)
            case "P":
                return writer.noun(self._phrases[1])
            case "attribute":
                return self._family.attribute or ""
        assert isinstance(phrase.condition, Related)  # noqa: S101 - only such sentences have the fields below
        match field:
            case "relation":
                return writer.choose(_RELATIONS[phrase.condition.relation])
            case "reference":
                return writer.noun(phrase.condition.of)
            case "one":
                return _with_article(writer.noun(phrase.condition.of))
        raise KeyError(field)


def _with_article(noun: str) -> str:
    if noun.startswith("other "):
        return "an" + noun
    return ("an " if noun[0] in "aeiou" else "a ") + noun


class _Writer:
    """A writer of phrases in English with random synonyms and optional words; with neither if ``random`` is None."""

    def __init__(self, random: Random | None) -> None:
        self._random = random

    def choose(self, options: Sequence[str]) -> str:
        """Return a random option; without a source of randomness the first."""
        return options[0] if self._random is None else pick(self._random, options)

    def _optional(self, word: str) -> str:
        return "" if self._random is None else pick(self._random, (word, ""))

    def noun(self, phrase: Phrase, *, plural: bool = False) -> str:
        """Write description and condition without an article."""
        bare = self.bare(phrase, plural=plural)
        match phrase.condition:
            case None | Either():
                return bare
            case Same() as same:
                verbs: tuple[str, ...] = (
                    ("that are", "that have", "of") if plural else ("that is", "that has", "of")
                )
                if same.attribute == "material":
                    verbs = ("made of", "that are made of") if plural else ("made of", "that is made of")
                return f"{bare} {self.choose(verbs)} {self._like(same)}"
            case _:
                link = self.choose(("", "that are " if plural else "that is "))
                return f"{bare} {link}{self.where(phrase)}"

    def bare(self, phrase: Phrase, *, plural: bool = False) -> str:
        """Write the description alone: "tiny red balls"; "other things" if only a shared attribute is given."""
        size, color, material, shape = phrase.description
        noun = self.choose(_SYNONYMS.get(shape, (shape,))) if shape else self.choose(_NOUNS)
        words = [self.choose(_SYNONYMS.get(value, (value,))) for value in (size, color, material) if value]
        if isinstance(phrase.condition, Same) and phrase.description == ANYTHING:
            words.append("other")
        return " ".join([*words, noun + "s" if plural else noun])

    def where(self, phrase: Phrase) -> str:
        """Write the condition as it follows "is" or "are"."""
        match phrase.condition:
            case Related() as related:
                return self._related(related)
            case Both(first, second):
                both = self._optional("both ")
                return f"{both}{self._related(first)} and {self._related(second)}"
            case Either(first, second):
                either = self._optional("either ")
                return f"{either}{self.noun(first, plural=True)} or {self.noun(second, plural=True)}"
            case Same() as same:
                return ("made of " if same.attribute == "material" else "") + self._like(same)
            case None:
                raise ValueError("a phrase without a condition has no relative clause")

    def _related(self, related: Related) -> str:
        return f"{self.choose(_RELATIONS[related.relation])} the {self.noun(related.of)}"

    def _like(self, same: Same) -> str:
        return f"the same {same.attribute} as the {self.noun(same.of)}"
