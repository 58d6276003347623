"""CLEVR's question files as Arrow tables: parsed once, in a stream, and mapped from disk afterwards."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fusion_bench.data.files import known_digest, require
from fusion_bench.data.json_stream import items_of
from fusion_bench.data.programs import ANSWERS, ATTRIBUTES
from fusion_bench.errors import DataError
from fusion_bench.storage import cached_file

FAMILY_COUNT = 90
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

_BARE_KEYS = frozenset({"image_index", "image_filename", "question_index", "split", "question"})
_QUESTION_KEYS = _BARE_KEYS | {"question_family_index", "answer", "program"}
_NODE_KEYS = frozenset({"function", "inputs", "value_inputs"})
_BARE_SCHEMA = pa.schema(
    {
        "number": pa.int64(),
        "image_index": pa.int64(),
        "image_filename": pa.large_string(),
        "text": pa.large_string(),
    }
)
_SCHEMA = pa.schema(
    [
        *_BARE_SCHEMA,
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

    With a ``cache`` it is parsed once: the table is kept there under the digest of the file's content (see
    `known_digest` for how a changed file is noticed), checked against its own digest when it is opened, and
    mapped into memory, so that processes share it.

    Args:
        path: ``CLEVR_<split>_questions.json``.
        published: where it can be had; for the error message.
        cache: folder for what can be made again; None keeps nothing.
        answered: False for a file of the test split.

    Returns:
        One row per question: ``number``, ``image_index``, ``image_filename``, ``text``; with answers also
        ``family``, ``answer``, ``last`` (the program's last function), ``hops`` and ``filters`` (how many
        ``relate`` and ``filter_*`` it has).

    Raises:
        DataError: the file is missing, not JSON, or not in the released schema.
    """
    require(path, published)
    schema = _SCHEMA if answered else _BARE_SCHEMA
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
    row = _Rows() if schema is _SCHEMA else _bare_row
    numbers = []
    questions = items_of(path, "questions")
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
        raise DataError(f"{path} does not hold a list of CLEVR v1.0 questions under the key 'questions'")
    if len(np.unique(every := np.concatenate(numbers))) != len(every):
        raise DataError(f"{path} holds a question_index twice")


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


class _Rows:
    """Records of the released schema as rows of `_SCHEMA`; a program stays as its last function and two counts."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[str, int, int]] = {}

    def __call__(self, record: Any) -> tuple[Any, ...]:
        bare = _bare_row(record, _QUESTION_KEYS)
        number, answer, family = record["question_index"], record["answer"], record["question_family_index"]
        if not isinstance(answer, str) or answer not in _KNOWN_ANSWERS:
            raise DataError(
                f"question {number} has the answer {answer!r}, which is none of CLEVR's 28 (all are strings)"
            )
        if not _integer(family) or not 0 <= family < FAMILY_COUNT:
            raise DataError(
                f"question {number} has the question_family_index {family!r}; it runs from 0 to {FAMILY_COUNT - 1}"
            )
        return (*bare, family, answer, *self._counted(number, record["program"]))

    def _counted(self, number: int, program: Any) -> tuple[str, int, int]:
        functions = tuple(map(_function, program)) if isinstance(program, list) else ()
        known = self._known.get(functions)
        if known is None:
            if not functions or functions[-1] not in ASKS:
                raise DataError(
                    f"question {number} has a program that does not end in a function that answers"
                )
            filters = sum(function.startswith("filter_") for function in functions)
            known = self._known[functions] = (functions[-1], functions.count("relate"), filters)
        return known


def _function(node: Any) -> str:
    """The function of a program's node."""
    try:
        function = node["function"]
        if len(node) == 3 and "inputs" in node and "value_inputs" in node and type(function) is str:
            return function
    except (KeyError, TypeError):
        function = None
    raise DataError(_WRONG_NODE[isinstance(node, dict) and "type" in node])


def _bare_row(record: Any, keys: frozenset[str] = _BARE_KEYS) -> tuple[Any, ...]:
    """What every question has, with or without an answer."""
    if not isinstance(record, dict) or "question" not in record:
        raise DataError("it holds something that is not a CLEVR v1.0 question under the key 'questions'")
    number = record.get("question_index")
    if "answer" in keys and "answer" not in record:
        raise DataError(f"question {number} has no answer (test questions are published without)")
    if record.keys() != keys:
        difference = sorted(record.keys() ^ keys)
        raise DataError(
            f"question {number} has other keys than CLEVR v1.0 (missing or unknown: {', '.join(difference)})"
        )
    image, file, text = record["image_index"], record["image_filename"], record["question"]
    if not (_integer(number) and _integer(image)):
        raise DataError(f"question {number} has a question_index or image_index that is not a whole number")
    if not (isinstance(text, str) and isinstance(file, str)):
        raise DataError(f"question {number} has a question or image_filename that is not text")
    return number, image, file, text


def _integer(value: object) -> bool:
    return type(value) is int


_KNOWN_ANSWERS = frozenset(ANSWERS)
_WRONG_NODE: Mapping[bool, str] = {
    True: "its programs have 'type' in place of 'function': this is the raw output of generate_questions.py; "
    "convert it to the released form first (function, inputs, value_inputs, answers as strings)",
    False: f"a program node must have exactly the keys {', '.join(sorted(_NODE_KEYS))}",
}
