"""The time in which the questions of a CLEVR folder are read for the first time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from fusion_bench.data.annotations.clevr_questions import question_table

_PROGRAM = [
    {"function": "scene", "inputs": [], "value_inputs": []},
    {"function": "filter_color", "inputs": [0], "value_inputs": ["red"]},
    {"function": "filter_shape", "inputs": [1], "value_inputs": ["cube"]},
    {"function": "unique", "inputs": [2], "value_inputs": []},
    {"function": "relate", "inputs": [3], "value_inputs": ["left"]},
    {"function": "filter_material", "inputs": [4], "value_inputs": ["metal"]},
    {"function": "unique", "inputs": [5], "value_inputs": []},
    {"function": "query_size", "inputs": [6], "value_inputs": []},
]


def seconds_of_reading(count: int) -> float:
    """Return the seconds in which ``count`` questions are read and indexed; ten questions share an image."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "CLEVR_train_questions.json"
        _write_questions(path, count)
        began = time.perf_counter()
        question_table(path, "", cache=folder / "cache")
        return time.perf_counter() - began


def _write_questions(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"split": "train", "version": "1.0"}, "questions": [')
        for number in range(count):
            record = {
                "question_index": number,
                "image_index": number // 10,
                "image_filename": f"CLEVR_train_{number // 10:06d}.png",
                "split": "train",
                "question": "What is the size of the metal thing that is left of the red cube?",
                "question_family_index": 72,
                "answer": "large",
                "program": _PROGRAM,
            }
            file.write((", " if number else "") + json.dumps(record))
        file.write("]}")
