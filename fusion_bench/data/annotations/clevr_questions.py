"""CLEVR's question files as Arrow tables: parsed once as a stream, later mapped from disk."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fusion_bench.data.annotations.json_stream import list_items
from fusion_bench.data.files import known_digest, require
from fusion_bench.data.programs import ANSWERS, ATTRIBUTES
from fusion_bench.errors import DataError
from fusion_bench.storage import cached_file

FAMILY_COUNT = 90
"""Number of question families; ``question_family_index`` is less than this."""
QUESTION_GROUPS: Mapping[str, str] = {
    "count": "count",
    "exist": "exist",
    "equal_integer": "compare integer",
    "less_than": "compare integer",
    "greater_than": "compare integer",
    **{f"equal_{name}": "compare attribute" for name in ATTRIBUTES},
    **{f"query_{name}": "query" for name in ATTRIBUTES},
}
"""The paper's five groups of questions by the last program function."""

_UNANSWERED_KEYS = frozenset({"image_index", "image_filename", "question_index", "split", "question"})
_QUESTION_KEYS = _UNANSWERED_KEYS | {"question_family_index", "answer", "program"}
_NODE_KEYS = frozenset({"function", "inputs", "value_inputs"})
_UNANSWERED_SCHEMA = pa.schema(
    {
        "number": pa.int64(),
        "image_index": pa.int64(),
        "image_filename": pa.large_string(),
        "text": pa.large_string(),
    }
)
_SCHEMA = pa.schema(
    [
        *_UNANSWERED_SCHEMA,
        pa.field("family", pa.int16()),
        pa.field("answer", pa.large_string()),
        pa.field("last", pa.large_string()),
        pa.field("hops", pa.int16()),
        pa.field("filters", pa.int16()),
    ]
)
_BATCH = 1 << 15
_INDEX_VERSION = 1


def question_table(
    path: Path, published: str, *, cache: Path | None = None, answered: bool = True
) -> pa.Table:
    """Read a questions file.

    With a ``cache`` the file is parsed once. The table is stored there under the digest of the file's content (see
    `known_digest` for the detection of changes), verified when it is opened, and mapped into memory, so that
    processes share it.

    Args:
        path: ``CLEVR_<split>_questions.json``.
        published: the address where the file is published, for the error message.
        cache: folder for files that can be regenerated; None stores nothing.
        answered: False for a file of the test split.

    Returns:
        One row per question: ``number``, ``image_index``, ``image_filename``, ``text``; with answers also
        ``family``, ``answer``, ``last`` (the program's last function), ``hops`` and ``filters`` (the numbers
        of its ``relate`` and ``filter_*`` functions).

    Raises:
        DataError: the file is missing, is not JSON, or does not follow the released schema.
    """
    require(path, published)
    schema = _SCHEMA if answered else _UNANSWERED_SCHEMA
    if cache is None:
        return pa.Table.from_batches(_batches(path, schema), schema)

    def write(part: Path) -> None:
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in _batches(path, schema):
                writer.write_batch(batch)

    key = {"clevr questions": known_digest(path, cache), "answered": answered, "version": _INDEX_VERSION}
    with pa.memory_map(str(cached_file(cache, key, ".arrow", write))) as source:
        return pa.ipc.open_file(source).read_all()


def _batches(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    row = _Rows() if schema is _SCHEMA else _unanswered_row
    numbers = []
    questions = list_items(path, "questions")
    with _no_garbage_collection():
        while records := list(itertools.islice(questions, _BATCH)):
            try:
                rows = [row(record) for record in records]
            except DataError as error:
                raise DataError(f"{path}: {error}") from error
            columns = [
                pa.array(column, field.type)
                for column, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            numbers.append(columns[0].to_numpy())
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
    if not numbers:
        raise DataError(f"{path} has no list of CLEVR v1.0 questions under the key 'questions'")
    if len(np.unique(all_numbers := np.concatenate(numbers))) != len(all_numbers):
        raise DataError(f"{path} contains a question_index twice")


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Disable garbage collection: it would rescan the millions of live objects that parsing creates."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Rows:
    """Converter of released records to rows of `_SCHEMA`; of a program it keeps the last function and two counts."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[str, int, int]] = {}

    def __call__(self, record: Any) -> tuple[Any, ...]:
        fields = _unanswered_row(record, _QUESTION_KEYS)
        number, answer, family = record["question_index"], record["answer"], record["question_family_index"]
        if not isinstance(answer, str) or answer not in _KNOWN_ANSWERS:
            raise DataError(
                f"question {number} has the answer {answer!r}, which is not one of CLEVR's 28 answers (strings)"
            )
        if not _is_integer(family) or not 0 <= family < FAMILY_COUNT:
            raise DataError(
                f"question {number} has the question_family_index {family!r}; expected 0 to {FAMILY_COUNT - 1}"
            )
        return (*fields, family, answer, *self._program_summary(number, record["program"]))

    def _program_summary(self, number: int, program: Any) -> tuple[str, int, int]:
        functions = tuple(map(_function, program)) if isinstance(program, list) else ()
        known = self._known.get(functions)
        if known is None:
            if not functions or functions[-1] not in QUESTION_GROUPS:
                raise DataError(
                    f"the program of question {number} does not end in a function that returns an answer"
                )
            filters = sum(function.startswith("filter_") for function in functions)
            known = self._known[functions] = (functions[-1], functions.count("relate"), filters)
        return known


def _function(node: Any) -> str:
    """Return the function of a program node."""
    try:
        function = node["function"]
        if len(node) == 3 and "inputs" in node and "value_inputs" in node and type(function) is str:
            return function
    except (KeyError, TypeError):
        function = None
    raise DataError(_NODE_ERRORS[isinstance(node, dict) and "type" in node])


def _unanswered_row(record: Any, keys: frozenset[str] = _UNANSWERED_KEYS) -> tuple[Any, ...]:
    """Return the fields that every question has, with or without an answer, in the order of `_UNANSWERED_SCHEMA`."""
    if not isinstance(record, dict) or "question" not in record:
        raise DataError("an entry under the key 'questions' is not a CLEVR v1.0 question")
    number = record.get("question_index")
    if "answer" in keys and "answer" not in record:
        raise DataError(f"question {number} has no answer (test questions are published without answers)")
    if record.keys() != keys:
        difference = sorted(record.keys() ^ keys)
        raise DataError(
            f"question {number} does not have the keys of CLEVR v1.0 (missing or unknown: {', '.join(difference)})"
        )
    image, file, text = record["image_index"], record["image_filename"], record["question"]
    if not (_is_integer(number) and _is_integer(image)):
        raise DataError(f"question {number} has a question_index or image_index that is not a whole number")
    if not (isinstance(text, str) and isinstance(file, str)):
        raise DataError(f"question {number} has a question or image_filename that is not text")
    return number, image, file, text


def _is_integer(value: object) -> bool:
    return type(value) is int


_KNOWN_ANSWERS = frozenset(ANSWERS)
_NODE_ERRORS: Mapping[bool, str] = {
    True: "its programs have the key 'type' instead of 'function': this is the raw output of "
    "generate_questions.py; convert it to the released form first (function, inputs, value_inputs, answers as "
    "strings)",
    False: f"a program node must have exactly the keys {', '.join(sorted(_NODE_KEYS))}",
}
