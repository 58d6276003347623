"""The writer of CLEVR v1.0's file layout and schema, which `Clevr` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fusion_bench.data.miniclevr.questions.generate import GeneratedQuestion
from fusion_bench.data.miniclevr.scenes.scenes import Scene, relationships
from fusion_bench.storage import write_text

_INFO = {"version": "1.0", "date": "11/23/2026", "license": "Creative Commons Attribution (CC BY 4.0)"}
"""Schema version and a fixed date, so that the same settings give the same files on any day."""


def image_file(split: str, index: int) -> str:
    """Return the name of an image file."""
    return f"CLEVR_{split}_{index:06d}.png"


def image_path(root: Path, split: str, index: int) -> Path:
    """Return the path of an image under ``root``."""
    return root / "images" / split / image_file(split, index)


def scene_record(scene: Scene, split: str) -> dict[str, Any]:
    """Return one entry of a scenes file."""
    return {
        "image_index": scene.index,
        "image_filename": image_file(split, scene.index),
        "split": split,
        "directions": {name: list(vector) for name, vector in scene.directions.items()},
        "relationships": relationships(scene),
        "objects": [
            {
                "shape": thing.shape,
                "size": thing.size,
                "material": thing.material,
                "color": thing.color,
                "3d_coords": list(thing.coords),
                "rotation": thing.rotation,
                "pixel_coords": list(thing.pixel),
            }
            for thing in scene.things
        ],
    }


def write_scenes(root: Path, split: str, records: Sequence[dict[str, Any]]) -> None:
    """Write ``scenes/CLEVR_<split>_scenes.json``."""
    _write(root / "scenes" / f"CLEVR_{split}_scenes.json", split, "scenes", records)


def write_questions(
    root: Path, split: str, questions: Iterable[tuple[int, Sequence[GeneratedQuestion]]]
) -> None:
    """Write ``questions/CLEVR_<split>_questions.json``; questions are numbered through the split.

    Args:
        root: the folder of the data set.
        split: name of the split.
        questions: pairs of an image index and the questions about that image.
    """
    pairs = ((image, question) for image, image_questions in questions for question in image_questions)
    records = [
        {
            "image_index": image,
            "image_filename": image_file(split, image),
            "question_index": number,
            "question_family_index": question.family,
            "split": split,
            "question": question.text,
            "answer": question.answer,
            "program": question.program,
        }
        for number, (image, question) in enumerate(pairs)
    ]
    _write(root / "questions" / f"CLEVR_{split}_questions.json", split, "questions", records)


def _write(path: Path, split: str, key: str, records: Sequence[dict[str, Any]]) -> None:
    write_text(path, json.dumps({"info": {"split": split, **_INFO}, key: list(records)}))
