"""The program executor against every question of the packs, and against hand-worked scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fusion_bench.data.programs import ANSWERS, Facts, ProgramError, execute, find
from fusion_bench.errors import DataError


def node(function: str, *inputs: int, value: str | None = None) -> dict[str, Any]:
    return {"function": function, "inputs": list(inputs), "value_inputs": [] if value is None else [value]}


@pytest.fixture
def facts() -> Facts:
    """Left to right: a large red metal cube, a small blue rubber sphere, a small red rubber cube."""
    attributes = [
        ("large", "red", "metal", "cube"),
        ("small", "blue", "rubber", "sphere"),
        ("small", "red", "rubber", "cube"),
    ]
    objects = [dict(zip(("size", "color", "material", "shape"), row, strict=True)) for row in attributes]
    relationships = {
        "left": [[], [0], [0, 1]],
        "right": [[1, 2], [2], []],
        "front": [[1], [], [0, 1]],
        "behind": [[2], [0, 2], []],
    }
    return Facts.of({"image_filename": "x.png", "objects": objects, "relationships": relationships})


BALL = [node("scene"), node("filter_shape", 0, value="sphere"), node("unique", 1)]


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ([node("scene"), node("filter_color", 0, value="red"), node("count", 1)], "2"),
        ([node("scene"), node("filter_color", 0, value="cyan"), node("exist", 1)], "no"),
        ([*BALL, node("query_material", 2)], "rubber"),
        ([*BALL, node("relate", 2, value="left"), node("unique", 3), node("query_size", 4)], "large"),
        ([*BALL, node("same_size", 2), node("count", 3)], "1"),
        ([*BALL, node("same_color", 2), node("exist", 3)], "no"),
        (
            [*BALL, node("relate", 2, value="behind"), node("scene"), node("union", 3, 4), node("count", 5)],
            "3",
        ),
        (
            [
                *BALL,
                node("relate", 2, value="right"),
                node("scene"),
                node("intersect", 3, 4),
                node("count", 5),
            ],
            "1",
        ),
        (
            [
                *BALL,
                node("same_material", 2),
                node("count", 3),
                node("scene"),
                node("count", 5),
                node("less_than", 4, 6),
            ],
            "yes",
        ),
        (
            [
                *BALL,
                node("relate", 2, value="left"),
                node("unique", 3),
                node("query_shape", 2),
                node("query_shape", 4),
                node("equal_shape", 5, 6),
            ],
            "no",
        ),
    ],
)
def test_each_function_gives_the_answer_worked_out_by_hand(
    facts: Facts, program: list[dict[str, Any]], answer: str
) -> None:
    assert execute(program, facts) == answer


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ([node("scene"), node("filter_color", 0, value="red"), node("unique", 1)], "2 objects, not one"),
        (
            [node("scene"), node("filter_color", 0, value="cube"), node("count", 1)],
            "'cube' is not a value of color",
        ),
        ([node("scene"), node("polish", 0), node("count", 1)], "not a node of CLEVR's released programs"),
        ([{"type": "scene", "inputs": []}], "not a node of CLEVR's released programs"),
        ([node("scene")], "returns no answer"),
        ([], "returns no answer"),
    ],
)
def test_a_program_without_an_answer_is_refused(
    facts: Facts, program: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ProgramError, match=message):
        execute(program, facts)


def test_a_program_that_ends_in_unique_finds_an_object(facts: Facts) -> None:
    assert find(BALL, facts) == facts.values["shape"].index("sphere")
    with pytest.raises(ProgramError, match="2 objects, not one"):
        find([node("scene"), node("filter_color", 0, value="red"), node("unique", 1)], facts)
    for program, ends in (([node("scene")], "'scene'"), ([], "'nothing'")):
        with pytest.raises(ProgramError, match=f"ends in {ends}, which does not return a single object"):
            find(program, facts)


def test_a_scene_outside_the_schema_is_refused() -> None:
    thing = {"size": "large", "color": "red", "material": "metal", "shape": "cube"}
    relations: dict[str, list[list[int]]] = {name: [[]] for name in ("left", "right", "front", "behind")}
    with pytest.raises(DataError, match="has no key 'relationships'"):
        Facts.of({"objects": [thing]})
    with pytest.raises(DataError, match="unknown color 'mauve'"):
        Facts.of({"objects": [thing | {"color": "mauve"}], "relationships": relations})
    with pytest.raises(DataError, match="'left' does not fit its 1 objects"):
        Facts.of({"objects": [thing], "relationships": relations | {"left": [[1]]}})


def test_there_are_28_answers() -> None:
    assert len(set(ANSWERS)) == 28


@pytest.mark.pack
@pytest.mark.parametrize(
    ("pack", "questions"),
    [("clevr_real_sample", 300), ("clevr_mini", 900), ("clevr_cogent_mini", 480), ("clevr_blender", 12_090)],
)
def test_every_question_of_the_packs_is_answered_as_published(packs: Path, pack: str, questions: int) -> None:
    """The real sample has 200 released questions and 100 questions of the official generator on released scenes."""
    folder = packs / pack
    scenes = {
        scene["image_filename"]: Facts.of(scene)
        for path in sorted((folder / "scenes").iterdir())
        for scene in json.loads(path.read_text())["scenes"]
    }
    records = [
        record
        for path in sorted((folder / "questions").iterdir())
        for record in json.loads(path.read_text())["questions"]
        if "answer" in record
    ]
    wrong = [
        record["question"]
        for record in records
        if execute(record["program"], scenes[record["image_filename"]]) != record["answer"]
    ]
    assert len(records) == questions
    assert wrong == []
