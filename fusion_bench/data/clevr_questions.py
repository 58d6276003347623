"""CLEVR's question files, read so that the release's 700,000 fit in memory."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fusion_bench.data.files import require
from fusion_bench.data.programs import ANSWERS, ATTRIBUTES
from fusion_bench.errors import DataError

FAMILIES = 90
"""Question families; ``question_family_index`` runs below it."""
ASKS: Mapping[str, str] = {
    "count": "count",
    "exist": "exist",
    "equal_integer": "compare integer",
    "less_than": "compare integer",
    "greater_than": "compare integer",
    **{f"equal_{name}": "compare attribute" for name in ATTRIBUTES},
    **{f"query_{name}": "query" for name in ATTRIBUTES},
}
"""The five groups of the paper, by the last program function."""

_QUESTION_KEYS = frozenset(
    {
        "image_index",
        "image_filename",
        "question_index",
        "question_family_index",
        "split",
        "question",
        "answer",
        "program",
    }
)
_NODE_KEYS = frozenset({"function", "inputs", "value_inputs"})


class Question(NamedTuple):
    """What is kept of one question: its program only as the last function and two counts."""

    number: int
    image_index: int
    image_filename: str
    family: int
    text: str
    answer: str
    last: str
    hops: int
    filters: int


def read_questions(path: Path, published: str) -> list[Question]:
    """Read a questions file, shrinking each record while it is parsed.

    Args:
        path: ``CLEVR_<split>_questions.json``.
        published: where it can be had; for the error message.

    Raises:
        DataError: the file is missing, not JSON, or not in the released schema.
    """
    require(path, published)
    try:
        with _no_garbage_collection():
            content = json.loads(path.read_text(encoding="utf-8"), object_hook=_shrink)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    questions = content.get("questions") if isinstance(content, dict) else None
    if not isinstance(questions, list) or {*map(type, questions)} != {Question}:
        raise DataError(f"{path} does not hold a list of CLEVR v1.0 questions under the key 'questions'")
    if len({question.number for question in questions}) != len(questions):
        raise DataError(f"{path} holds a question_index twice")
    return questions


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Parsing allocates millions of live objects and no cycles; the collector would only scan them again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _shrink(record: dict[str, Any]) -> Any:
    """Called by the JSON reader on every object, innermost first: nodes become their function's name."""
    if "inputs" in record:
        if record.keys() != _NODE_KEYS or not isinstance(record["function"], str):
            raise DataError(_WRONG_NODE["type" in record])
        return sys.intern(record["function"])
    if "question" not in record:
        return record
    number: Any = record.get("question_index")
    if "answer" not in record:
        raise DataError(f"question {number} has no answer (test questions are published without)")
    if record.keys() != _QUESTION_KEYS:
        difference = sorted(record.keys() ^ _QUESTION_KEYS)
        raise DataError(
            f"question {number} has other keys than CLEVR v1.0 (missing or unknown: {', '.join(difference)})"
        )
    answer, program, family = record["answer"], record["program"], record["question_family_index"]
    if not isinstance(answer, str) or answer not in _KNOWN_ANSWERS:
        raise DataError(
            f"question {number} has the answer {answer!r}, which is none of CLEVR's 28 (all are strings)"
        )
    if not isinstance(program, list) or {*map(type, program)} != {str} or program[-1] not in ASKS:
        raise DataError(f"question {number} has a program that does not end in a function that answers")
    if not _integer(family) or not 0 <= family < FAMILIES:
        raise DataError(
            f"question {number} has the question_family_index {family!r}; it runs from 0 to {FAMILIES - 1}"
        )
    if not (_integer(number) and _integer(record["image_index"])):
        raise DataError(f"question {number} has a question_index or image_index that is not a whole number")
    if not (isinstance(record["question"], str) and isinstance(record["image_filename"], str)):
        raise DataError(f"question {number} has a question or image_filename that is not text")
    return Question(
        number,
        record["image_index"],
        record["image_filename"],
        family,
        record["question"],
        answer,
        program[-1],
        program.count("relate"),
        sum(function.startswith("filter_") for function in program),
    )


def _integer(value: object) -> bool:
    return type(value) is int


_KNOWN_ANSWERS = frozenset(ANSWERS)
_WRONG_NODE: Mapping[bool, str] = {
    True: "its programs have 'type' in place of 'function': this is the raw output of generate_questions.py; "
    "convert it to the released form first (function, inputs, value_inputs, answers as strings)",
    False: f"a program node must have exactly the keys {', '.join(sorted(_NODE_KEYS))}",
}
