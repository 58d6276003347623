"""The readers of easy-VQA's files: the rows of ``questions.json`` and the lines of ``answers.txt``."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fusion_bench.data.files import read_utf8, require
from fusion_bench.errors import DataError

LARGEST_BYTES: Mapping[str, int] = {"questions.json": 1 << 26, "answers.txt": 1 << 16}
"""The largest accepted size of each file in bytes; the published files have 1.9 MB and 77 bytes."""


class EasyVqaRow(NamedTuple):
    """One question; ``number`` is its row in the file, counted from 0."""

    number: int
    text: str
    answer: str
    image: int


def read_easy_vqa_rows(path: Path, answers: frozenset[str], published: str) -> list[EasyVqaRow]:
    """Read a questions file: a JSON list with one list ``[question, answer, image number]`` per question."""
    try:
        records = json.loads(_read_bounded(path, published))
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(records, list) or not records:
        raise DataError(f"{path} is no list of rows [question, answer, image number]")
    rows: list[EasyVqaRow] = []
    asked: dict[tuple[str, int], int] = {}
    for number, record in enumerate(records):
        where = f"{path}, row {number} (counted from 0)"
        if not _is_row(record):
            raise DataError(f"{where} is {reprlib.repr(record)}; expected [question, answer, image number]")
        row = EasyVqaRow(number, *record)
        if row.answer not in answers:
            raise DataError(
                f"{where} has the answer {reprlib.repr(row.answer)}, which answers.txt does not list"
            )
        first = asked.setdefault((row.text, row.image), number)
        if first != number:
            raise DataError(f"{where} asks the same question about image {row.image} as row {first}")
        rows.append(row)
    return rows


def _is_row(record: Any) -> bool:
    """Return whether a value is a question with words, an answer and the number of an image."""
    if not isinstance(record, list) or len(record) != 3:
        return False
    text, answer, image = record
    if not (isinstance(text, str) and isinstance(answer, str) and type(image) is int and image >= 0):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair is no character and cannot be stored
        return False
    return bool(text.strip())


def read_answer_lines(path: Path, published: str) -> frozenset[str]:
    """Return the answers that may occur: one per line."""
    answers: set[str] = set()
    for number, line in enumerate(_read_bounded(path, published).splitlines(), start=1):
        if not line.strip() or line in answers:
            problem = f"repeats {reprlib.repr(line)}" if line.strip() else "is empty"
            raise DataError(f"{path}, line {number} {problem}; expected one answer per line")
        answers.add(line)
    if not answers:
        raise DataError(f"{path} contains no answer")
    return frozenset(answers)


def _read_bounded(path: Path, published: str) -> str:
    """Return the text of a published file of a plausible size."""
    require(path, published)
    size, largest = path.stat().st_size, LARGEST_BYTES[path.name]
    if size > largest:
        raise DataError(f"{path} has {size:,} bytes, but at most {largest:,} are accepted")
    return read_utf8(path)
