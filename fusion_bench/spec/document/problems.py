"""Collects the mistakes in a study file, each as one line: where it is, what is wrong and what to write instead."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fusion_bench.errors import StudyFileError
from fusion_bench.registry import did_you_mean
from fusion_bench.spec.document.suggestions import KeyIndex, keys_at
from fusion_bench.spec.document.tree import Location, Node
from fusion_bench.spec.signatures import Signature

ValidatedSettings: TypeAlias = dict[str, Any]
_KeyPath: TypeAlias = tuple[str | int, ...]
_KeysAt: TypeAlias = Callable[[_KeyPath], list[str]]
_SHOWN = 60
"""The number of characters of a value that an error quotes."""
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Problems:
    """The mistakes found so far; a mistake that several arms share is reported once."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[bool, str, int]] = {}
        self._faulty: list[tuple[Location, str]] = []

    def add(self, node: Node, message: str, path: str | None = None) -> None:
        """Record a mistake at ``node``; ``path`` replaces the path of the node in the message.

        What is found later at the same place, or inside it, only follows from the first mistake and is left out.
        """
        location, path = node.location, node.path if path is None else path
        if any(
            place == location and (path == faulty or path.startswith((f"{faulty}.", f"{faulty}[")))
            for place, faulty in self._faulty
        ):
            return
        self._faulty.append((location, path))
        prefix = str(location) if location.override == path or not path else f"{location}: {path}"
        self._lines[f"{prefix}: {message}"] = (
            location.override is not None,
            str(location.file),
            location.line,
        )

    def __bool__(self) -> bool:
        return bool(self._lines)

    def error(self) -> StudyFileError:
        """Return one error with a line for each mistake: first those in files, by line, then those in overrides."""
        return StudyFileError("\n".join(sorted(self._lines, key=self._lines.__getitem__)))

    def validate_section(self, model: type[M], node: Node) -> M | None:
        """Return the section that a node holds, validated strictly; None after recording mistakes.

        Args:
            model: the model of the section.
            node: the section as written.
        """
        return self._validate(
            _adapter(model),
            node,
            lambda key_path: keys_at(model, key_path),
            functools.cache(lambda: KeyIndex(model, node)),
        )

    def validate_settings(
        self, signature: Signature, node: Node, other_keys: Iterable[str] = ()
    ) -> ValidatedSettings | None:
        """Return the settings of a class that a node holds, validated strictly; None after recording mistakes.

        Args:
            signature: the settings that the class takes.
            node: the settings as written.
            other_keys: further keys that are allowed in the same place, for suggestions about unknown keys.
        """
        names = [*signature.names, *other_keys]
        return self._validate(signature.adapter, node, lambda key_path: [] if key_path else names)

    def _validate(
        self,
        adapter: TypeAdapter[T],
        node: Node,
        keys: _KeysAt,
        places: Callable[[], KeyIndex] | None = None,
    ) -> T | None:
        try:
            return adapter.validate_json(json.dumps(node.plain()), strict=True)
        except ValidationError as error:
            by_path: dict[str, list[tuple[Node, ErrorDetails]]] = {}
            for detail in error.errors(include_url=False):
                found, absent = node.at(detail["loc"])
                path = found.path
                if detail["type"] == "missing" and isinstance(absent, str):
                    path = f"{path}.{absent}".removeprefix(".")
                by_path.setdefault(path, []).append((found, detail))
            for path, details in by_path.items():
                if any(other.startswith((f"{path}.", f"{path}[")) for other in by_path):
                    continue  # the value has one of the allowed types, but for an entry, which is a mistake too
                found, detail = details[0]
                if (
                    places
                    and not node.path
                    and detail["type"] == "extra_forbidden"
                    and len(detail["loc"]) == 1
                ):
                    # A key of the whole file may lack its section: epochs for train.epochs.
                    message = f"unknown key{places().hint(str(detail['loc'][0]))}"
                elif len(details) == 1:
                    message = _message(detail, found, keys)
                else:
                    message = _union_message(details)
                self.add(found, message, path)
            return None


@functools.cache
def _adapter(model: type[M]) -> TypeAdapter[M]:
    return TypeAdapter(model)


_TYPES: Mapping[str, str] = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "frozen_set_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping (key: value)",
    "mapping_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "none_required": "null",
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _message(detail: ErrorDetails, node: Node, keys: _KeysAt) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    written = format_value(node)
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(detail['loc'][-1]), keys(detail['loc'][:-1]))}"
    if kind == "missing":
        return "is missing" if isinstance(node.value, Mapping) else f"is too short: {written}"
    if kind in {"too_short", "too_long"}:
        limit = "at least" if kind == "too_short" else "at most"
        number = context.get("min_length", context.get("max_length"))
        return f"must have {limit} {number} {'entry' if number == 1 else 'entries'}, not {written}"
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        number = context[limit]
        return f"must be {words} {f'{number:,}' if isinstance(number, int) else f'{number:g}'}, not {written}"
    if kind == "literal_error":
        return f"must be {context['expected']}, not {written}{_nearest(node, context['expected'])}"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {written}{_quotes_hint(kind, node)}"
    text = detail["msg"].removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _nearest(node: Node, expected: str) -> str:
    """Return a suggestion of the nearest of the allowed words as pydantic lists them; empty if none is near."""
    known = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
    hint = did_you_mean(str(node.value), known)
    return hint if "did you mean" in hint else ""


def _quotes_hint(kind: str, node: Node) -> str:
    """Return advice on quotes for a number or truth value in quotes, and for a number where text is needed."""
    if kind not in {"int_type", "float_type", "bool_type"} or not isinstance(node.value, str):
        number = isinstance(node.value, int | float)
        return " (write it in quotes)" if kind == "string_type" and number else ""
    try:
        value = json.loads(node.value.lower())
    except json.JSONDecodeError:
        return ""
    return f" (write {node.value} without quotes)" if isinstance(value, int | float) else ""


def _union_message(details: list[tuple[Node, ErrorDetails]]) -> str:
    """Return the message for a value that is of none of several allowed types."""
    allowed: dict[str, None] = {}
    hint, node = "", details[0][0]
    for _, detail in details:
        if detail["type"] == "literal_error":
            allowed[detail["ctx"]["expected"]] = None
            hint = hint or _nearest(node, detail["ctx"]["expected"])
        else:
            allowed[_TYPES.get(detail["type"], detail["msg"])] = None
    return f"must be {' or '.join(allowed)}, not {format_value(node)}{hint}"


def format_value(node: Node) -> str:
    """Return a value as an error quotes it: shortened, text in quotes, true and null as YAML writes them."""
    if isinstance(node.value, str):
        return repr(node.value if len(node.value) <= _SHOWN else f"{node.value[: _SHOWN - 3]}...")
    if isinstance(node.value, Mapping):
        return "a mapping"
    text = json.dumps(node.plain(), ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
