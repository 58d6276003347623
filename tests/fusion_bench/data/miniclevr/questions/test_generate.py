"""Questions on random scenes: their answers, their balance, rejected questions, their English."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_bench.data.clevr import KIND_STARTS
from fusion_bench.data.miniclevr.questions.families import FAMILIES
from fusion_bench.data.miniclevr.questions.generate import GeneratedQuestion, generate_questions
from fusion_bench.data.miniclevr.questions.strata import strata_of
from fusion_bench.data.miniclevr.questions.view import BIT
from fusion_bench.data.programs import ANSWERS, ATTRIBUTES, Facts, ProgramError, execute
from fusion_bench.samples.vocabulary import tokenize
from random_scenes import random_scenes

Generated = list[tuple[Facts, GeneratedQuestion]]


@pytest.fixture(scope="module")
def generated() -> Generated:
    """All nine kinds: about 6,000 questions on 600 scenes."""
    scenes = random_scenes(600, seed=1)
    return _flat(scenes, generate_questions(scenes, tuple(KIND_STARTS), 10, "test"))


@pytest.fixture(scope="module")
def simple() -> Generated:
    """The kinds of the quickstart on 400 scenes."""
    scenes = random_scenes(400, seed=2)
    return _flat(scenes, generate_questions(scenes, ("zero_hop", "one_hop"), 10, "test"))


def _flat(scenes: list[Facts], questions: Iterable[tuple[GeneratedQuestion, ...]]) -> Generated:
    return [
        (facts, question)
        for facts, scene_questions in zip(scenes, questions, strict=True)
        for question in scene_questions
    ]


def _functions(question: GeneratedQuestion) -> list[str]:
    return [node["function"] for node in question.program]


def test_the_executor_agrees_with_every_answer(generated: Generated) -> None:
    """A question is sampled with its answer; the executor computes the answer again from the program alone."""
    assert len(generated) > 5_900
    assert [q.text for facts, q in generated if execute(q.program, facts) != q.answer] == []
    assert {question.answer for _, question in generated} <= set(ANSWERS)


def test_every_family_is_asked(generated: Generated) -> None:
    counts = Counter(question.family for _, question in generated)
    assert set(counts) == set(range(90))
    # Scenes with few objects allow few chains of three relations; most families are equally frequent.
    assert np.median(list(counts.values())) >= 0.95 * max(counts.values())


def test_the_same_stream_asks_the_same_questions() -> None:
    scenes = random_scenes(20, seed=3)
    first, again, other = (
        list(generate_questions(scenes, ("one_hop",), 5, stream)) for stream in ("a", "a", "b")
    )
    assert first == again
    assert first != other


def test_no_question_is_asked_twice_of_a_scene(generated: Generated) -> None:
    programs = Counter(
        (id(facts), json.dumps(question.program), question.family) for facts, question in generated
    )
    assert max(programs.values()) == 1


def test_the_wording_predicts_answers_only_weakly(simple: Generated) -> None:
    """The best constant answer per (kind, last function, number of filters), fitted and measured on all."""
    groups: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for _, question in simple:
        functions = _functions(question)
        filters = sum(function.startswith("filter_") for function in functions)
        groups[question.family >= 84, functions[-1], filters][question.answer] += 1
    best = sum(max(answers.values()) for answers in groups.values())
    assert best / len(simple) < 0.43


def test_answers_are_balanced(simple: Generated) -> None:
    answers: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for _, question in simple:
        answers[_functions(question)[-1]][question.answer] += 1
    exist = answers["exist"]
    assert abs(exist["yes"] / exist.total() - 0.5) < 0.03
    counts = answers["count"]
    assert min(counts[str(number)] for number in range(4)) > 0.12 * counts.total()
    assert max(counts.values()) < 0.35 * counts.total()
    for name, values in ATTRIBUTES.items():
        shares = np.array([answers[f"query_{name}"][value] for value in values])
        assert np.abs(shares / shares.sum() * len(values) - 1).max() < 0.15


def test_the_named_attributes_do_not_predict_the_count(simple: Generated) -> None:
    """In questions that count the result of one filter, "small things" are not more than "red things"."""
    zeros: defaultdict[str, list[bool]] = defaultdict(list)
    for _, question in simple:
        functions = _functions(question)
        if question.family == 84 and len(functions) == 3 and question.answer in {"0", "1", "2", "3"}:
            zeros[functions[1]].append(question.answer == "0")
    assert len(zeros) == 4
    for attribute, empty in zeros.items():
        assert 0.05 < np.mean(empty) < 0.45, attribute


def test_every_relation_is_necessary(generated: Generated) -> None:
    """Without a relation the set changes: either "unique" fails, or the set grows."""
    checked = 0
    for facts, question in generated:
        functions = _functions(question)
        if functions.count("relate") != 1 or functions.count("scene") != 1:
            continue
        program = [dict(node) for node in question.program]
        index = functions.index("relate")
        program[index] = {"function": "scene", "inputs": [], "value_inputs": []}
        if functions[-1] in {"count", "exist"}:
            program[-1] = program[-1] | {"function": "count"}
            with_relation = [*question.program[:-1], program[-1]]
            assert int(execute(program, facts)) > int(execute(with_relation, facts))
        else:
            with pytest.raises(ProgramError, match="objects, not one"):
                execute(program, facts)
        checked += 1
    assert checked > 300


def test_no_description_names_the_queried_or_shared_attribute(generated: Generated) -> None:
    for _, question in generated:
        functions = _functions(question)
        last = functions[-1]
        if last.startswith("query_") and question.family >= 25:
            start = max(
                index for index, name in enumerate(functions) if name in {"scene", "relate"} or "same" in name
            )
            assert f"filter_{last.removeprefix('query_')}" not in functions[start:]
        for shared in (name for name in functions if name.startswith("same_")):
            assert f"filter_{shared.removeprefix('same_')}" not in functions


def test_programs_have_the_form_of_the_release(generated: Generated) -> None:
    order = list(ATTRIBUTES)
    for _, question in generated:
        for index, node in enumerate(question.program):
            assert set(node) == {"inputs", "function", "value_inputs"}
            assert all(source < index for source in node["inputs"])
            if node["function"].startswith("filter_"):
                before = question.program[node["inputs"][0]]["function"]
                if before.startswith("filter_") and question.family not in range(64, 72):
                    names = [name.removeprefix("filter_") for name in (before, node["function"])]
                    assert order.index(names[0]) < order.index(names[1])
        used = Counter(source for node in question.program for source in node["inputs"])
        assert len(used) == len(question.program) - 1


def test_english(generated: Generated) -> None:
    texts = [question.text for _, question in generated]
    for text in texts:
        assert re.fullmatch(r"[A-Z][a-z ;]+\?", text), text
        assert "  " not in text
        assert not re.search(r"\ba object|\ban (?!object|equal|other)\w|\ban? \w+s are\b", text), text
    assert max(len(tokenize(text)) for text in texts) < 50
    openings = {" ".join(text.split()[:2]) for text in texts}
    assert len(openings) > 15


@pytest.mark.parametrize(
    ("family", "function", "kind"),
    [
        (0, "equal_integer", "compare_integer"),
        (24, "equal_shape", "comparison"),
        (28, "query_shape", "three_hop"),
        (31, "count", "single_and"),
        (49, "count", "same_relate"),
        (71, "count", "single_or"),
        (72, "count", "one_hop"),
        (83, "query_shape", "two_hop"),
        (86, "query_shape", "zero_hop"),
    ],
)
def test_family_numbers(family: int, function: str, kind: str) -> None:
    assert FAMILIES[family].index == family
    assert (FAMILIES[family].function, FAMILIES[family].kind) == (function, kind)


@pytest.mark.pack
def test_families_and_words_are_those_of_the_official_generator(packs: Path, generated: Generated) -> None:
    """Per family: last function, relations, shared attributes, unions; and no word that CLEVR does not use."""

    def shape(functions: list[str]) -> tuple[Any, ...]:
        same = tuple(sorted(name for name in functions if name.startswith("same_")))
        joins = tuple(name for name in functions if name in {"union", "intersect"})
        return functions[-1], functions.count("relate"), functions.count("scene"), same, joins

    questions = packs / "clevr_blender" / "questions" / "CLEVR_train_questions.json"
    official = json.loads(questions.read_text())["questions"]
    theirs: defaultdict[int, set[Any]] = defaultdict(set)
    for record in official:
        theirs[record["question_family_index"]].add(shape([node["function"] for node in record["program"]]))
    ours: defaultdict[int, set[Any]] = defaultdict(set)
    for _, question in generated:
        ours[question.family].add(shape(_functions(question)))
    assert ours == theirs
    words = {word for record in official for word in tokenize(record["question"])}
    assert {word for _, question in generated for word in tokenize(question.text)} <= words


WORDS = {
    "size": {"size", "big", "large", "small", "tiny"},
    "color": {"color", "gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow"},
    "material": {"material", "made", "rubber", "matte", "metal", "metallic", "shiny"},
    "shape": {"shape", "cube", "block", "sphere", "ball", "cylinder"},
}


@pytest.mark.parametrize(
    ("kinds", "varying", "things"),
    [
        (("zero_hop", "one_hop"), ("shape",), (2, 3)),
        (("zero_hop", "one_hop"), ("shape", "color"), (2, 3)),
        (("one_hop", "two_hop"), ("size", "material"), (2, 4)),
        (tuple(KIND_STARTS), ("shape", "color", "material"), (3, 10)),
    ],
)
def test_attributes_that_do_not_vary_are_never_named(
    kinds: tuple[str, ...], varying: tuple[str, ...], things: tuple[int, int]
) -> None:
    scenes = random_scenes(200, seed=6, things=things, varying=varying)
    asked = _flat(scenes, generate_questions(scenes, kinds, 10, "test", attributes=varying, things=things[1]))
    assert {FAMILIES[question.family].kind for _, question in asked} == set(kinds)
    unnamed = set().union(*(words for name, words in WORDS.items() if name not in varying))
    for facts, question in asked:
        assert execute(question.program, facts) == question.answer
        names = {function.partition("_")[2] for function in _functions(question)}
        assert names.isdisjoint(set(ATTRIBUTES) - set(varying))
        words = {word.removesuffix("s") for word in tokenize(question.text)}
        assert words.isdisjoint(unnamed), question.text


@pytest.mark.parametrize("varying", [("shape",), ("shape", "color")])
def test_few_attributes_leave_the_answers_balanced(varying: tuple[str, ...]) -> None:
    """No stratum waits for a count that scenes of three objects cannot have, and every value is asked for."""
    scenes = random_scenes(600, seed=7, things=(2, 3), varying=varying)
    asked = generate_questions(scenes, ("zero_hop", "one_hop"), 10, "test", attributes=varying, things=3)
    answers: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    counts: defaultdict[tuple[int, str, str], Counter[str]] = defaultdict(Counter)
    for question in (question for questions in asked for question in questions):
        functions = _functions(question)
        answers[FAMILIES[question.family].kind, functions[-1]][question.answer] += 1
        if functions[-1] == "count":
            # The strata: how many attributes the reference names, and which ones the counted set names.
            reference, relate, counted = " ".join(functions).rpartition("relate")
            counts[reference.count("filter"), relate, counted][question.answer] += 1
    asked_for = {"count", "exist", *(f"query_{name}" for name in varying)}
    assert {function for kind, function in answers if kind == "one_hop"} == asked_for
    for kind, numbers in (("zero_hop", "0123"), ("one_hop", "012")):
        exist, count = answers[kind, "exist"], answers[kind, "count"]
        assert abs(exist["yes"] / exist.total() - 0.5) < 0.03
        assert "".join(sorted(count)) == numbers
        assert count.total() > 100
    # A round asks each answer once, and the last round of a stratum may be unfinished.
    assert all(max(count.values()) - min(count.values()) <= 1 for count in counts.values()), counts
    for name in varying:
        shares = np.array([answers["one_hop", f"query_{name}"][value] for value in ATTRIBUTES[name]])
        assert np.abs(shares / shares.sum() * len(shares) - 1).max() < 0.15


@pytest.mark.parametrize(
    ("filtered", "greatest"), [(("shape",), 3), (("color",), 2), (("shape", "color"), 2), (("size",), 3)]
)
def test_a_set_is_counted_up_to_what_scenes_of_three_things_often_hold(
    filtered: tuple[str, ...], greatest: int
) -> None:
    """Three things share a shape in 1 of 9 scenes of three, a colour in 1 of 64: fewer than 1 of 50 is not asked."""
    stratum = next(
        stratum
        for stratum in strata_of(FAMILIES[84], things=3)
        if stratum.patterns == ((sum(BIT[name] for name in filtered),),)
    )
    assert stratum.targets == tuple(range(size, size + 1) for size in range(greatest + 1))


@pytest.mark.parametrize(("kind", "least"), [("zero_hop", 0.8), ("one_hop", 0.5)])
def test_every_family_is_asked_about_scenes_of_few_things(kind: str, least: float) -> None:
    """A count that no scene of three things has would block its stratum, and counts would hardly be asked."""
    scenes = random_scenes(400, seed=3, things=(2, 3))
    asked = _flat(scenes, generate_questions(scenes, (kind,), 10, "test", things=3))
    counts = Counter(question.family for _, question in asked)
    families = [family.index for family in FAMILIES if family.kind == kind]
    assert min(counts[family] for family in families) > least * len(asked) / len(families)
