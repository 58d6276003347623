"""One wording: a single sentence for each family, without synonyms and optional words."""

from __future__ import annotations

import json
import re
from collections import defaultdict

import pytest

from fusion_bench.data.clevr import KIND_STARTS
from fusion_bench.data.miniclevr.questions.generate import GeneratedQuestion, generate_questions
from fusion_bench.data.miniclevr.questions.templates import Wordings
from fusion_bench.data.programs import ATTRIBUTES, Facts
from random_scenes import random_scenes

_VALUES = "|".join(value for values in ATTRIBUTES.values() for value in values)
SYNONYMS = {
    *("big", "tiny", "matte", "metallic", "shiny", "block", "blocks", "ball", "balls", "object", "objects"),
    *("to", "on", "side", "both", "either", "what number", "visible", "there is"),
}


def asked(scenes: list[Facts], kinds: tuple[str, ...], wordings: Wordings) -> list[GeneratedQuestion]:
    made = generate_questions(scenes, kinds, 10, "test", wordings=wordings, things=10)
    return [question for questions in made for question in questions]


@pytest.fixture(scope="module")
def every() -> dict[Wordings, list[GeneratedQuestion]]:
    """All nine kinds about 200 scenes, in all wordings and in one."""
    scenes = random_scenes(200, seed=4)
    return {"all": asked(scenes, tuple(KIND_STARTS), "all"), "one": asked(scenes, tuple(KIND_STARTS), "one")}


def test_wordings_change_no_program_and_no_answer(every: dict[Wordings, list[GeneratedQuestion]]) -> None:
    def asked_for(question: GeneratedQuestion) -> tuple[int, str, str]:
        return question.family, question.answer, json.dumps(question.program)

    assert list(map(asked_for, every["one"])) == list(map(asked_for, every["all"]))


def test_one_wording_gives_each_family_one_sentence(every: dict[Wordings, list[GeneratedQuestion]]) -> None:
    """What is left of a sentence without the names of values, things and relations is the same for all."""
    forms = defaultdict(set)
    for question in every["one"]:
        text = re.sub(rf"\b(?:{_VALUES})s? ?\b", "", question.text)
        text = re.sub(r"\b(?:left of|right of|behind|in front of)\b", "REL", text)
        forms[question.family].add(re.sub(r"\b(?:things? )?(?=\W)|\bthings?\b", "", text).replace("  ", " "))
    assert len(forms) == 90
    several = {family: found for family, found in forms.items() if len(found) > 1}
    assert not several, several


def test_one_wording_has_no_synonyms_and_no_optional_words(
    every: dict[Wordings, list[GeneratedQuestion]],
) -> None:
    for question in every["one"]:
        found = {word for word in SYNONYMS if re.search(rf"\b{word}\b", question.text, re.IGNORECASE)}
        assert not found, question.text
        assert re.fullmatch(r"[A-Z][a-z ]+\?", question.text), question.text


@pytest.mark.parametrize(
    ("family", "text"),
    [
        (0, r"Are there the same number of .+ and .+\?"),
        (9, r"Does the .+ have the same size as the .+\?"),
        (31, r"How many .+ are (left of|right of|behind|in front of) the .+ and .+\?"),
        (36, r"Are there any other things that are the same size as the .+\?"),
        (64, r"How many things are .+s or .+s\?"),
        (72, r"How many \w+( \w+)* are (left of|right of|behind|in front of) the [a-z ]+\?"),
        (84, r"How many [a-z ]+s are there\?"),
        (85, r"Are there any [a-z ]+s\?"),
        (87, r"What is the [a-z ]+ made of\?"),
    ],
)
def test_sentences(every: dict[Wordings, list[GeneratedQuestion]], family: int, text: str) -> None:
    texts = [question.text for question in every["one"] if question.family == family]
    assert texts
    assert [found for found in texts if not re.fullmatch(text, found)] == []


def _distinct(scenes: int) -> tuple[int, int, int, int]:
    """Return the numbers of zero_hop and one_hop questions, of sentences in all wordings and in one, of programs."""
    facts = random_scenes(scenes, seed=5, things=(2, 3))
    several, one = (asked(facts, ("one_hop", "zero_hop"), wordings) for wordings in ("all", "one"))
    assert len(several) == len(one)
    programs = {json.dumps(question.program) for question in one}
    return len(one), len({q.text for q in several}), len({q.text for q in one}), len(programs)


def test_one_wording_has_one_sentence_for_each_program() -> None:
    questions, several, one, programs = _distinct(scenes=150)
    assert one == programs < several < questions


@pytest.mark.slow
def test_of_28_000_questions_10_000_sentences_are_distinct_in_one_wording_and_18_000_in_all() -> None:
    """As many as in the quickstart's training split: 2,800 scenes of 2 to 3 objects, zero_hop and one_hop."""
    questions, several, one, _ = _distinct(scenes=2800)
    assert questions == 28_000
    assert several == pytest.approx(18_400, rel=0.03)
    assert one == pytest.approx(10_400, rel=0.03)
