"""Frozen dataclasses as JSON values and back, strictly: nothing unknown is ignored, nothing missing is guessed."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from fusion_bench.errors import FusionBenchError

D = TypeVar("D")


def to_json(value: Any) -> Any:
    """Return a dataclass (or tuple, mapping, plain value) as JSON types, every field written out."""
    if is_dataclass(value):
        return {item.name: to_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[D], value: Any, where: str) -> D:
    """Return the dataclass that `to_json` wrote.

    Args:
        kind: a dataclass.
        value: JSON types.
        where: what the value is, for messages ("cell", "result.json").

    Raises:
        FusionBenchError: a key is unknown, missing or of the wrong type.
    """
    return cast("D", _build(kind, value, where))


def _build(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return _build_dataclass(kind, value, where)
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        options = [option for option in get_args(kind) if option is not type(None)]
        if value is None and len(options) < len(get_args(kind)):
            return None
        # Several kinds are plain JSON (the settings of a component), which their owner checks.
        return _build(options[0], value, where) if len(options) == 1 else value
    if origin is tuple:
        return _build_tuple(get_args(kind), value, where)
    if origin is Mapping:
        return _build_mapping(get_args(kind)[1], value, where)
    if origin is Literal:
        if value not in get_args(kind):
            raise FusionBenchError(f"{where} is {value!r}; known: {', '.join(map(str, get_args(kind)))}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in {int, float, str, bool} and (
        not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    ):
        raise FusionBenchError(f"{where} must be of type {kind.__name__}, not {value!r}")
    return value


def _build_tuple(kinds: Sequence[Any], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise FusionBenchError(f"{where} must be a list, not {value!r}")
    each = [kinds[0]] * len(value) if Ellipsis in kinds else kinds
    if len(each) != len(value):
        raise FusionBenchError(f"{where} must have {len(each)} values, not {len(value)}")
    return tuple(
        _build(kind, item, f"{where}[{number}]")
        for number, (kind, item) in enumerate(zip(each, value, strict=True))
    )


def _build_mapping(kind: Any, value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise FusionBenchError(f"{where} must be a mapping, not {value!r}")
    return {str(key): _build(kind, item, f"{where}.{key}") for key, item in value.items()}


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise FusionBenchError(f"{where} must be a mapping, not {value!r}")
    hints = get_type_hints(kind)
    known = {item.name: item for item in fields(kind)}
    for key in value:
        if key not in known:
            raise FusionBenchError(f"{where} has an unknown key {key!r}")
    for name, item in known.items():
        if name not in value and item.default is MISSING and item.default_factory is MISSING:
            raise FusionBenchError(f"{where} lacks {name!r}")
    return kind(**{key: _build(hints[key], item, f"{where}.{key}") for key, item in value.items()})
