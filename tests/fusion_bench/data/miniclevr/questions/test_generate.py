"""Questions on scenes scattered at random: their answers, their balance, what is refused, their English."""

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
from fusion_bench.data.programs import ANSWERS, ATTRIBUTES, RELATIONS, Facts, ProgramError, execute
from fusion_bench.samples.vocabulary import tokenize


def scattered(number: int, seed: int) -> list[Facts]:
    """Scenes of 3 to 10 objects with independent attributes at independent places."""
    random = np.random.default_rng(seed)
    scenes = []
    for _ in range(number):
        places = random.uniform(-3, 3, (random.integers(3, 11), 2))
        objects = [{name: str(random.choice(values)) for name, values in ATTRIBUTES.items()} for _ in places]
        relations = {
            name: [
                [int(j) for j in np.flatnonzero(sign * (places[:, axis] - here[axis]) > 0.2)]
                for here in places
            ]
            for name, axis, sign in zip(RELATIONS, (0, 0, 1, 1), (-1, 1, 1, -1), strict=True)
        }
        scenes.append(Facts.of({"objects": objects, "relationships": relations}))
    return scenes


Asked = list[tuple[Facts, GeneratedQuestion]]


@pytest.fixture(scope="module")
def asked() -> Asked:
    """All nine kinds: about 6,000 questions on 600 scenes."""
    scenes = scattered(600, seed=1)
    return _flat(scenes, generate_questions(scenes, tuple(KIND_STARTS), 10, "test"))


@pytest.fixture(scope="module")
def simple() -> Asked:
    """The kinds of the quickstart on 400 scenes."""
    scenes = scattered(400, seed=2)
    return _flat(scenes, generate_questions(scenes, ("zero_hop", "one_hop"), 10, "test"))


def _flat(scenes: list[Facts], questions: Iterable[tuple[GeneratedQuestion, ...]]) -> Asked:
    return [(facts, question) for facts, some in zip(scenes, questions, strict=True) for question in some]


def _functions(question: GeneratedQuestion) -> list[str]:
    return [node["function"] for node in question.program]


def test_the_executor_agrees_with_every_answer(asked: Asked) -> None:
    """The answer is worked out while a question is drawn; the program is run afterwards and knows nothing of it."""
    assert len(asked) > 5_900
    assert [q.text for facts, q in asked if execute(q.program, facts) != q.answer] == []
    assert {question.answer for _, question in asked} <= set(ANSWERS)


def test_every_family_is_asked(asked: Asked) -> None:
    counts = Counter(question.family for _, question in asked)
    assert set(counts) == set(range(90))
    # Scenes of few things allow few chains of three relations; most families come up equally often.
    assert np.median(list(counts.values())) >= 0.95 * max(counts.values())


def test_the_same_stream_asks_the_same_questions() -> None:
    scenes = scattered(20, seed=3)
    first, again, other = (
        list(generate_questions(scenes, ("one_hop",), 5, stream)) for stream in ("a", "a", "b")
    )
    assert first == again
    assert first != other


def test_no_question_is_asked_twice_of_a_scene(asked: Asked) -> None:
    programs = Counter(
        (id(facts), json.dumps(question.program), question.family) for facts, question in asked
    )
    assert max(programs.values()) == 1


def test_wording_gives_little_away(simple: Asked) -> None:
    """The best constant answer per (kind, last function, number of filters), fitted and measured on all."""
    groups: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for _, question in simple:
        functions = _functions(question)
        filters = sum(function.startswith("filter_") for function in functions)
        groups[question.family >= 84, functions[-1], filters][question.answer] += 1
    best = sum(max(answers.values()) for answers in groups.values())
    assert best / len(simple) < 0.43


def test_answers_are_balanced(simple: Asked) -> None:
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


def test_the_attributes_named_do_not_give_the_count_away(simple: Asked) -> None:
    """Among questions that count what one filter leaves, "small things" are not more than "red things"."""
    zeros: defaultdict[str, list[bool]] = defaultdict(list)
    for _, question in simple:
        functions = _functions(question)
        if question.family == 84 and len(functions) == 3 and question.answer in {"0", "1", "2", "3"}:
            zeros[functions[1]].append(question.answer == "0")
    assert len(zeros) == 4
    for attribute, empty in zeros.items():
        assert 0.05 < np.mean(empty) < 0.45, attribute


def test_no_relation_is_idle(asked: Asked) -> None:
    """Leaving a relation out changes the answer's set: then "unique" fails, or the set grows."""
    checked = 0
    for facts, question in asked:
        functions = _functions(question)
        if functions.count("relate") != 1 or functions.count("scene") != 1:
            continue
        program = [dict(node) for node in question.program]
        place = functions.index("relate")
        program[place] = {"function": "scene", "inputs": [], "value_inputs": []}
        if functions[-1] in {"count", "exist"}:
            program[-1] = program[-1] | {"function": "count"}
            with_relation = [*question.program[:-1], program[-1]]
            assert int(execute(program, facts)) > int(execute(with_relation, facts))
        else:
            with pytest.raises(ProgramError, match="objects, not one"):
                execute(program, facts)
        checked += 1
    assert checked > 300


def test_no_description_names_what_is_asked_or_shared(asked: Asked) -> None:
    for _, question in asked:
        functions = _functions(question)
        last = functions[-1]
        if last.startswith("query_") and question.family >= 25:
            start = max(
                place for place, name in enumerate(functions) if name in {"scene", "relate"} or "same" in name
            )
            assert f"filter_{last.removeprefix('query_')}" not in functions[start:]
        for shared in (name for name in functions if name.startswith("same_")):
            assert f"filter_{shared.removeprefix('same_')}" not in functions


def test_programs_have_the_form_of_the_release(asked: Asked) -> None:
    order = list(ATTRIBUTES)
    for _, question in asked:
        for place, node in enumerate(question.program):
            assert set(node) == {"inputs", "function", "value_inputs"}
            assert all(source < place for source in node["inputs"])
            if node["function"].startswith("filter_"):
                before = question.program[node["inputs"][0]]["function"]
                if before.startswith("filter_") and question.family not in range(64, 72):
                    names = [name.removeprefix("filter_") for name in (before, node["function"])]
                    assert order.index(names[0]) < order.index(names[1])
        used = Counter(source for node in question.program for source in node["inputs"])
        assert len(used) == len(question.program) - 1


def test_english(asked: Asked) -> None:
    texts = [question.text for _, question in asked]
    for text in texts:
        assert re.fullmatch(r"[A-Z][a-z ;]+\?", text), text
        assert "  " not in text
        assert not re.search(r"\ba object|\ban (?!object|equal|other)\w|\ban? \w+s are\b", text), text
    assert max(len(tokenize(text)) for text in texts) < 50
    openings = {" ".join(text.split()[:2]) for text in texts}
    assert len(openings) > 15


@pytest.mark.parametrize(
    ("family", "asks", "kind"),
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
def test_family_numbers(family: int, asks: str, kind: str) -> None:
    assert FAMILIES[family].index == family
    assert (FAMILIES[family].asks, FAMILIES[family].kind) == (asks, kind)


@pytest.mark.pack
def test_families_and_words_are_those_of_the_official_generator(packs: Path, asked: Asked) -> None:
    """Per family: last function, relations, likenesses, unions; and no word that CLEVR does not use."""

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
    for _, question in asked:
        ours[question.family].add(shape(_functions(question)))
    assert ours == theirs
    words = {word for record in official for word in tokenize(record["question"])}
    assert {word for _, question in asked for word in tokenize(question.text)} <= words
