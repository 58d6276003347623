"""VQA v2's question and annotation files, each record checked and shrunk to what is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fusion_bench.data.files import require
from fusion_bench.data.json_stream import items_of
from fusion_bench.errors import DataError
from fusion_bench.samples.vqa_answers import ANNOTATORS

T = TypeVar("T", "Vqa2Question", "Vqa2Annotation")


class Vqa2Question(NamedTuple):
    """One record of a questions file."""

    id: int
    image: int
    text: str


class Vqa2Annotation(NamedTuple):
    """One record of an annotations file: what the ten said, in the order of their numbers, as published."""

    id: int
    image: int
    question_type: str
    answer_type: str
    commonest: str
    answers: tuple[str, ...]


def read_questions(path: Path, published: str) -> list[Vqa2Question]:
    """Read ``v2_OpenEnded_mscoco_<subtype>_questions.json``.

    Args:
        path: the file.
        published: where it can be had; for the error message.

    Raises:
        DataError: it is missing, not JSON, not in the published schema, or holds a question_id twice.
    """
    return _read(path, "questions", _question, published)


def read_annotations(path: Path, published: str) -> list[Vqa2Annotation]:
    """Read ``v2_mscoco_<subtype>_annotations.json``.

    Args:
        path: the file.
        published: where it can be had; for the error message.

    Raises:
        DataError: as for `read_questions`, or a question has not ten answers by ten people.
    """
    return _read(path, "annotations", _annotation, published)


def _read(path: Path, key: str, shrink: Callable[[Mapping[str, Any]], T], published: str) -> list[T]:
    require(path, published)
    records: list[T] = []
    for number, item in enumerate(items_of(path, key)):
        try:
            records.append(shrink(item))
        except KeyError as error:
            raise DataError(f"{path}, number {number} of the {key}: it lacks {error}") from error
        except TypeError as error:
            raise DataError(
                f"{path}, number {number} of the {key} is not in VQA's schema: {error}"
            ) from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    if not records:
        raise DataError(f"{path} holds none of the {key}")
    seen: set[int] = set()
    for record in records:
        if record.id in seen:
            raise DataError(f"{path} holds the question_id {record.id} twice")
        seen.add(record.id)
    return records


def _question(record: Mapping[str, Any]) -> Vqa2Question:
    return Vqa2Question(
        _whole(record, "question_id"), _whole(record, "image_id"), _text(record["question"], "question")
    )


def _annotation(record: Mapping[str, Any]) -> Vqa2Annotation:
    number = _whole(record, "question_id")
    said = {
        _whole(item, "answer_id"): sys.intern(_text(item["answer"], "answer")) for item in record["answers"]
    }
    if len(said) != ANNOTATORS or len(record["answers"]) != ANNOTATORS:
        raise DataError(
            f"the question {number} has {len(record['answers'])} answers by {len(said)} people; VQA's accuracy "
            f"needs {ANNOTATORS} by {ANNOTATORS}"
        )
    question_type, answer_type, commonest = (
        sys.intern(_text(record[name], name))
        for name in ("question_type", "answer_type", "multiple_choice_answer")
    )
    answers = tuple(said[person] for person in sorted(said))
    return Vqa2Annotation(number, _whole(record, "image_id"), question_type, answer_type, commonest, answers)


def _whole(record: Mapping[str, Any], key: str) -> int:
    value = record[key]
    if type(value) is not int:
        raise TypeError(f"{key} {value!r} is not a whole number")
    return value


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{key} {value!r} is not text")
    return value
