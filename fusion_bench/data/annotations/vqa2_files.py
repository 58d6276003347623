"""Readers of VQA v2's question and annotation files; each record is checked and reduced to the needed fields."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fusion_bench.data.annotations.json_stream import list_items
from fusion_bench.data.files import require
from fusion_bench.errors import DataError, FusionBenchError
from fusion_bench.samples.vqa_answers import ANNOTATORS
from fusion_bench.storage import read_json

T = TypeVar("T", "Vqa2Question", "Vqa2Annotation")


class Vqa2Question(NamedTuple):
    """One record of a questions file."""

    id: int
    image: int
    text: str


class Vqa2Annotation(NamedTuple):
    """One record of an annotations file; ``answers`` are the ten published answers in the order of their numbers.

    ``most_common`` is the published ``multiple_choice_answer``.
    """

    id: int
    image: int
    question_type: str
    answer_type: str
    most_common: str
    answers: tuple[str, ...]


def read_questions(path: Path, published: str) -> list[Vqa2Question]:
    """Read ``v2_OpenEnded_mscoco_<subtype>_questions.json``.

    Args:
        path: the file.
        published: the address where it is published, for the error message.

    Raises:
        DataError: the file is missing, is not JSON, does not follow the published schema, or contains a question_id
            twice.
    """
    return _read(path, "questions", _question, published)


def read_annotations(path: Path, published: str) -> list[Vqa2Annotation]:
    """Read ``v2_mscoco_<subtype>_annotations.json``.

    Args:
        path: the file.
        published: the address where it is published, for the error message.

    Raises:
        DataError: as for `read_questions`, or a question does not have ten answers by ten people.
    """
    return _read(path, "annotations", _annotation, published)


def _read(path: Path, key: str, convert: Callable[[Mapping[str, Any]], T], published: str) -> list[T]:
    require(path, published)
    records: list[T] = []
    for number, item in enumerate(list_items(path, key)):
        try:
            records.append(convert(item))
        except KeyError as error:
            raise DataError(f"{path}, number {number} of the {key}: the key {error} is missing") from error
        except TypeError as error:
            raise DataError(
                f"{path}, number {number} of the {key} does not follow VQA's schema: {error}"
            ) from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
    if not records:
        raise DataError(f"{path} has no {key}")
    seen: set[int] = set()
    for record in records:
        if record.id in seen:
            raise DataError(f"{path} contains the question_id {record.id} twice")
        seen.add(record.id)
    return records


def _question(record: Mapping[str, Any]) -> Vqa2Question:
    return Vqa2Question(
        _int_field(record, "question_id"),
        _int_field(record, "image_id"),
        _text(record["question"], "question"),
    )


def _annotation(record: Mapping[str, Any]) -> Vqa2Annotation:
    number = _int_field(record, "question_id")
    answer_by_person = {
        _int_field(item, "answer_id"): sys.intern(_text(item["answer"], "answer"))
        for item in record["answers"]
    }
    if len(answer_by_person) != ANNOTATORS or len(record["answers"]) != ANNOTATORS:
        raise DataError(
            f"question {number} has {len(record['answers'])} answers by {len(answer_by_person)} people; VQA's "
            f"accuracy needs {ANNOTATORS} answers by {ANNOTATORS} people"
        )
    question_type, answer_type, most_common = (
        sys.intern(_text(record[name], name))
        for name in ("question_type", "answer_type", "multiple_choice_answer")
    )
    answers = tuple(answer_by_person[person] for person in sorted(answer_by_person))
    return Vqa2Annotation(
        number, _int_field(record, "image_id"), question_type, answer_type, most_common, answers
    )


def _int_field(record: Mapping[str, Any], key: str) -> int:
    value = record[key]
    if type(value) is not int:
        raise TypeError(f"{key} {value!r} is not a whole number")
    return value


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{key} {value!r} is not text")
    return value


def read_answers(path: Path) -> tuple[str, ...]:
    """Read a list of answers in the format of published implementations: ``[answer to index, index to answer]``.

    Raises:
        DataError: the file is missing, is not JSON, or does not contain such a list.
    """
    try:
        index = read_json(path)[0]
        ordered = {number: answer for answer, number in index.items()}
        answers = tuple(ordered[number] for number in range(len(index)))
        "".join(answers).encode()  # half of a surrogate pair cannot be encoded
        return answers
    except (FusionBenchError, LookupError, TypeError, AttributeError, UnicodeEncodeError) as error:
        raise DataError(
            f"{path} does not contain a list of answers: expected JSON [{{answer: index}}, {{index: answer}}] with "
            f"indices from 0 ({error})"
        ) from error
