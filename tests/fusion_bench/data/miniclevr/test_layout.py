"""The written files have the schema of the released files: keys, types, numbering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fusion_bench.data.miniclevr.layout import scene_record, write_questions, write_scenes
from fusion_bench.data.miniclevr.questions.generate import generate_questions
from fusion_bench.data.miniclevr.scenes.camera import Camera
from fusion_bench.data.miniclevr.scenes.scenes import Scene, Thing
from fusion_bench.data.programs import Facts, execute


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write two scenes of four objects with three questions each and return the folder."""
    attributes = [
        ("cube", "large", "red", "metal"),
        ("sphere", "small", "red", "rubber"),
        ("cylinder", "small", "blue", "rubber"),
        ("cube", "small", "gray", "metal"),
    ]
    things = tuple(
        Thing(shape, size, color, material, (x, -x * x / 3, 0.35), 30.0 * x, (10, 20, 9.5))
        for x, (shape, size, color, material) in zip((-2.0, -1.0, 0.0, 1.0), attributes, strict=True)
    )
    lights = ((1.0, 2.0, 3.0),) * 3
    scenes = [Scene(index, things, Camera(), lights) for index in (0, 1)]
    records = [scene_record(scene, "val") for scene in scenes]
    write_scenes(tmp_path, "val", records)
    questions_of_scenes = list(
        generate_questions([Facts.of(record) for record in records], ("one_hop", "same_relate"), 3, "test")
    )
    write_questions(tmp_path, "val", enumerate(questions_of_scenes))
    return tmp_path


def read(root: Path, what: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / what / f"CLEVR_val_{what}.json").read_text())
    return content


def test_questions_are_numbered_through_and_belong_to_their_image(root: Path) -> None:
    questions = read(root, "questions")["questions"]
    assert [record["question_index"] for record in questions] == list(range(6))
    assert [record["image_index"] for record in questions] == [0, 0, 0, 1, 1, 1]
    assert questions[5]["image_filename"] == "CLEVR_val_000001.png"


def test_programs_run_on_the_written_scenes(root: Path) -> None:
    scenes = [Facts.of(scene) for scene in read(root, "scenes")["scenes"]]
    for record in read(root, "questions")["questions"]:
        assert execute(record["program"], scenes[record["image_index"]]) == record["answer"]


def schema(value: Any) -> Any:
    """Return keys and types; a list becomes the set of the schemas of its entries."""
    if isinstance(value, dict):
        return {key: schema(entry) for key, entry in sorted(value.items())}
    if isinstance(value, list):
        return [set(map(repr, map(schema, value)))]
    return type(value).__name__


@pytest.mark.pack
def test_scenes_have_the_schema_of_the_release(packs: Path, root: Path) -> None:
    real, ours = read(packs / "clevr_real_sample", "scenes"), read(root, "scenes")
    assert schema(real["info"]) == schema(ours["info"])
    assert real.keys() == ours.keys()
    for theirs in real["scenes"][:5]:
        for mine in ours["scenes"]:
            assert theirs.keys() == mine.keys()
            assert schema(theirs["objects"]) == schema(mine["objects"])
            assert schema(theirs["directions"]) == schema(mine["directions"])
            assert theirs["relationships"].keys() == mine["relationships"].keys()
            for vector in mine["directions"].values():
                assert len(vector) == 3
            for name in ("3d_coords", "pixel_coords"):
                assert list(map(type, theirs["objects"][0][name])) == list(
                    map(type, mine["objects"][0][name])
                )


@pytest.mark.pack
def test_questions_have_the_schema_of_the_release(packs: Path, root: Path) -> None:
    real, ours = read(packs / "clevr_real_sample", "questions"), read(root, "questions")
    assert schema(real["info"]) == schema(ours["info"])
    nodes = {repr(schema(node)) for record in real["questions"] for node in record["program"]}
    for mine in ours["questions"]:
        theirs = real["questions"][0]
        assert {key: type(value) for key, value in mine.items()} == {k: type(v) for k, v in theirs.items()}
        assert {repr(schema(node)) for node in mine["program"]} <= nodes
