"""One wording: a single sentence for each family, without synonyms and optional words."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from fusion_bench.data.clevr import KIND_STARTS
from fusion_bench.data.miniclevr.build import draw_split_scenes
from fusion_bench.data.miniclevr.dataset import MiniClevr
from fusion_bench.data.miniclevr.layout import scene_record
from fusion_bench.data.miniclevr.parallel import Processes
from fusion_bench.data.miniclevr.questions.generate import GeneratedQuestion, generate_questions
from fusion_bench.data.miniclevr.questions.templates import Wordings
from fusion_bench.data.programs import ATTRIBUTES, Facts
from random_scenes import random_scenes

_VALUES = "|".join(value for values in ATTRIBUTES.values() for value in values)
SYNONYMS = {
    *("big", "tiny", "matte", "metallic", "shiny", "block", "blocks", "ball", "balls", "object", "objects"),
    *("to", "on", "side", "both", "either", "what number", "visible", "there is"),
}


def asked(
    scenes: list[Facts],
    kinds: tuple[str, ...],
    wordings: Wordings,
    *,
    things: int = 10,
    stream: str = "test",
) -> list[GeneratedQuestion]:
    made = generate_questions(scenes, kinds, 10, stream, wordings=wordings, things=things)
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


def test_one_wording_has_one_sentence_for_each_program() -> None:
    facts = random_scenes(150, seed=5, things=(2, 3))
    several, one = (asked(facts, ("one_hop", "zero_hop"), wordings, things=3) for wordings in ("all", "one"))
    programs = {json.dumps(question.program) for question in one}
    assert len(_texts(one)) == len(programs) < len(_texts(several)) < len(one) == len(several)


@pytest.mark.slow
def test_the_figures_of_the_documentation(tmp_path: Path) -> None:
    """The training questions about 2,800 pictures of 96x144 with 2 to 3 objects, as the data set asks them."""
    images = {"train": 2800, "select": 1, "evaluate": 1}
    settings = MiniClevr(tmp_path, images=images, size=(96, 144), things=(2, 3))._scene_settings
    scenes = [
        scene
        for split, drawn in draw_split_scenes(settings, Processes(None))
        if split == "train"
        for scene in drawn
    ]
    facts = [Facts.of(scene_record(scene, "train")) for scene in scenes]

    def questions(wordings: Wordings, *kinds: str) -> list[GeneratedQuestion]:
        return asked(facts, kinds, wordings, things=3, stream="miniclevr questions 0 train")

    def sentences(*kinds: str) -> tuple[int, int]:
        """Return the numbers of different sentences in one wording and in all."""
        one, several = questions("one", *kinds), questions("all", *kinds)
        assert len(one) == len(several) == 28_000
        return len(_texts(one)), len(_texts(several))

    locate, both = sentences("zero_hop"), sentences("zero_hop", "one_hop")
    page = Path(__file__).parents[5] / "docs" / "how-to" / "write_a_study.md"
    text = " ".join(page.read_text().split())
    assert (
        f"{locate[0]:,} sentences of `locate` are distinct in place of {locate[1]:,}, "
        f"and {both[0]:,} of `[zero_hop, one_hop]` in place of {both[1]:,}." in text
    )
    assert f"version 2 asks {len(questions('one', 'one_hop')):,}" in text


def _texts(questions: list[GeneratedQuestion]) -> set[str]:
    return {question.text for question in questions}
