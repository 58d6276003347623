"""Collects every mistake of a study file, each as one line that says where, what and what to write."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fusion_bench.errors import StudyFileError
from fusion_bench.registry import did_you_mean
from fusion_bench.spec.document.tree import Node
from fusion_bench.spec.signatures import Signature

ValidatedSettings: TypeAlias = dict[str, Any]
_Location: TypeAlias = tuple[str | int, ...]
_KeysAt: TypeAlias = Callable[[_Location], list[str]]
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Problems:
    """The mistakes found so far; each is told once, however many arms share it."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[bool, str, int]] = {}

    def add(self, node: Node, message: str, path: str | None = None) -> None:
        """Note a mistake at ``node``; ``path`` replaces its own path in the message."""
        place, path = node.place, node.path if path is None else path
        prefix = str(place) if place.override == path or not path else f"{place}: {path}"
        self._lines[f"{prefix}: {message}"] = (place.override is not None, str(place.file), place.line)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def error(self) -> StudyFileError:
        """Every mistake in one error, a line each, those of a file in the order of the file."""
        return StudyFileError("\n".join(sorted(self._lines, key=self._lines.__getitem__)))

    def section(self, model: type[M], node: Node) -> M | None:
        """Validate a node against a model, strictly; note what is wrong and return None if anything is."""
        return self._checked(_adapter(model), node, lambda location: _keys_at(model, location))

    def settings(
        self, signature: Signature, node: Node, beside: Iterable[str] = ()
    ) -> ValidatedSettings | None:
        """The same for the settings of a class; ``beside`` names keys that may have been meant as well."""
        names = [*signature.names, *beside]
        return self._checked(signature.adapter, node, lambda location: [] if location else names)

    def _checked(self, adapter: TypeAdapter[T], node: Node, keys: _KeysAt) -> T | None:
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
                found, detail = details[0]
                wanted = _message(detail, found, keys) if len(details) == 1 else _alternatives(details)
                self.add(found, wanted, path)
            return None


@functools.cache
def _adapter(model: type[M]) -> TypeAdapter[M]:
    return TypeAdapter(model)


def _keys_at(model: type[BaseModel], location: _Location) -> list[str]:
    """The keys that a model knows at a location."""
    current: type[BaseModel] | None = model
    for part in location:
        if current is not None and isinstance(part, str) and part in current.model_fields:
            current = _model_in(current.model_fields[part].annotation)
    return list(current.model_fields) if current is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


_WANTED: Mapping[str, str] = {
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
    written = shown(node)
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(detail['loc'][-1]), keys(detail['loc'][:-1]))}"
    if kind == "missing":
        return "is missing" if isinstance(node.value, Mapping) else f"is too short: {written}"
    if kind in {"too_short", "too_long"}:
        bound = "at least" if kind == "too_short" else "at most"
        number = context.get("min_length", context.get("max_length"))
        return f"must have {bound} {number} {'entry' if number == 1 else 'entries'}, not {written}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"must be {words} {context[bound]:g}, not {written}"
    if kind == "literal_error":
        hint = f" (did you mean {near!r}?)" if (near := _nearest(node, context["expected"])) else ""
        return f"must be {context['expected']}, not {written}{hint}"
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {written}{_unquote(kind, node)}"
    text = detail["msg"].removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _nearest(node: Node, expected: str) -> str | None:
    known = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
    hint = did_you_mean(str(node.value), known)
    return hint.split("'")[1] if "did you mean" in hint else None


def _unquote(kind: str, node: Node) -> str:
    """`"1e-4"` where a number is wanted: the quotes are the mistake."""
    if kind not in {"int_type", "float_type", "bool_type"} or not isinstance(node.value, str):
        return " (write it in quotes)" if kind == "string_type" and _is_scalar(node) else ""
    try:
        value = json.loads(node.value.lower())
    except json.JSONDecodeError:
        return ""
    return f" (write {node.value} without quotes)" if isinstance(value, int | float) else ""


def _is_scalar(node: Node) -> bool:
    return isinstance(node.value, int | float)


def _alternatives(details: list[tuple[Node, ErrorDetails]]) -> str:
    """Several kinds of value would do and none was given."""
    wanted: dict[str, None] = {}
    for _, detail in details:
        if detail["type"] == "literal_error":
            wanted[detail["ctx"]["expected"]] = None
        else:
            wanted[_WANTED.get(detail["type"], detail["msg"])] = None
    return f"must be {' or '.join(wanted)}, not {shown(details[0][0])}"


def shown(node: Node) -> str:
    """A value as an error quotes it: short, text in quotes, true and null as YAML writes them."""
    if isinstance(node.value, str):
        return repr(node.value)
    if isinstance(node.value, Mapping):
        return "a mapping"
    text = json.dumps(node.plain(), ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
