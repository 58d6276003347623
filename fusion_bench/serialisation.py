"""Frozen dataclasses as JSON values and back, strictly: nothing unknown is ignored, nothing missing is guessed."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
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
        return _build_union(get_args(kind), value, where)
    if origin is tuple:
        return _build_tuple(get_args(kind), value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _build_mapping(get_args(kind)[1], value, where)
    if origin is Literal:
        if value not in get_args(kind):
            raise FusionBenchError(
                f"{where} is {_shown(value)}; known: {', '.join(map(str, get_args(kind)))}"
            )
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in {int, float, str, bool} and (
        not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    ):
        raise FusionBenchError(f"{where} must be of type {kind.__name__}, not {_shown(value)}")
    return value


def _build_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    """Return the value of an optional field; a union of several types stands for any JSON value."""
    kinds = [option for option in options if option is not type(None)]
    if len(kinds) > 1 or (value is None and len(kinds) < len(options)):
        return value
    return _build(kinds[0], value, where)


def _build_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise FusionBenchError(f"{where} must be a list, not {_shown(value)}")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise FusionBenchError(f"{where} must have {len(kinds)} values, not {len(value)}")
    return tuple(
        _build(kind, item, f"{where}[{index}]")
        for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _build_mapping(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise FusionBenchError(f"{where} must be a mapping, not {_shown(value)}")
    return {key: _build(kind, item, f"{where}.{key}") for key, item in value.items()}


def _shown(value: Any) -> str:
    """Return a value as a message shows it, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


@functools.cache
def _hints(kind: type) -> Mapping[str, Any]:
    """Return the types of the fields of a dataclass; finding them takes longer than reading a file."""
    return get_type_hints(kind)


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise FusionBenchError(f"{where} must be a mapping, not {_shown(value)}")
    hints = _hints(kind)
    known = {item.name: item for item in fields(kind)}
    for key in value:
        if key not in known:
            raise FusionBenchError(f"{where} has an unknown key {_shown(key)}")
    for name, item in known.items():
        if name not in value and item.default is MISSING and item.default_factory is MISSING:
            raise FusionBenchError(f"{where} lacks {name!r}")
    return kind(**{key: _build(hints[key], item, f"{where}.{key}") for key, item in value.items()})
