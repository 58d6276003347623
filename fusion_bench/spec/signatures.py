"""Reads the settings that a class takes from its constructor: names, types and defaults.

The keyword-only parameters of a module, network, text encoder or data set adapter are the settings that a study may
write; their type hints are the types that the study file is checked against.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, Required, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, with_config
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError
from pydantic_core import PydanticSerializationError
from typing_extensions import TypedDict

from fusion_bench.errors import FusionBenchError
from fusion_bench.foreign import message_of
from fusion_bench.storage import canonical
from fusion_bench.training.config import Json


@dataclass(frozen=True, eq=False)
class Signature:
    """The settings of a class.

    Attributes:
        adapter: validates a mapping of settings; an unknown key is an error.
        defaults: the default of each setting that has one, as a JSON value.
        names: the names of all settings.
        paths: the names of the settings that name a file or a folder.
    """

    adapter: TypeAdapter[dict[str, Any]]
    defaults: Mapping[str, Json]
    names: tuple[str, ...]
    paths: tuple[str, ...] = ()

    def written(self, validated: Mapping[str, Any]) -> dict[str, Json]:
        """Return validated settings as JSON values; a set, which has no order, becomes a sorted list."""
        values = self.adapter.dump_python(dict(validated), mode="json")
        ordered = {
            name: sorted(values[name], key=canonical)
            for name, value in validated.items()
            if isinstance(value, AbstractSet)
        }
        return cast("dict[str, Json]", {**values, **ordered})

    def without_defaults(self, validated: Mapping[str, Any]) -> dict[str, Json]:
        """Return validated settings as JSON values, without those that equal a default."""
        return self.changed(self.written(validated))

    def changed(self, settings: Mapping[str, Json]) -> dict[str, Json]:
        """Return those of the settings, as JSON values, that do not equal a default."""
        return {
            name: value
            for name, value in settings.items()
            if name not in self.defaults or not equal_values(value, self.defaults[name])
        }


def signature_of(cls: type[Any]) -> Signature:
    """Return the settings of a class: the keyword-only parameters of its constructor.

    A parameter whose type has no JSON form (a function, a tensor) is not a setting; it must have a default.

    Raises:
        FusionBenchError: a type hint cannot be evaluated, a required parameter has a type without a JSON form, or a
            default is not of its type.
    """
    where = cls.__qualname__
    try:
        hints = get_type_hints(cls.__init__, include_extras=True)
        parameters = inspect.signature(cls.__init__).parameters
    except Exception as error:  # a type hint is code, which may raise any exception
        raise FusionBenchError(
            f"the type hints of {where}.__init__ cannot be read: {message_of(error)}"
        ) from error
    fields: dict[str, Any] = {}
    defaults: dict[str, Json] = {}
    for name, parameter in parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        hint = hints.get(name, Any)
        adapter = _adapter(hint)
        if parameter.default is inspect.Parameter.empty:
            if adapter is None:
                raise FusionBenchError(
                    f"{where} requires {name!r}, whose type {hint} cannot be written in a study file; give it a "
                    "default"
                )
            fields[name] = Required[hint]
        elif adapter is not None:
            fields[name] = NotRequired[hint]
            try:
                default = adapter.dump_python(parameter.default, mode="json", warnings=False)
            except PydanticSerializationError as error:
                raise FusionBenchError(
                    f"{where}: the default of {name!r}, {parameter.default!r}, is not of its type {hint}"
                ) from error
            unordered = isinstance(parameter.default, AbstractSet)
            defaults[name] = sorted(default, key=canonical) if unordered else default
    shape = with_config(ConfigDict(extra="forbid"))(TypedDict("Settings", fields))  # type: ignore[operator]
    paths = tuple(name for name in fields if hints.get(name) is Path)
    return Signature(TypeAdapter(shape), defaults, tuple(fields), paths)


def canonical_settings(
    adapter: type[Any], signature: Signature, settings: Mapping[str, Json]
) -> dict[str, Json]:
    """Return the settings of a data set in one spelling, without those that then equal a default.

    Args:
        adapter: the class of the data set.
        signature: its settings.
        settings: what is set, as JSON values.

    Raises:
        FusionBenchError: the data set's own code failed.
    """
    try:
        one_spelling = dict(adapter.canonical_settings(settings))
    except Exception as error:  # code of others may fail in any way
        raise FusionBenchError(f"{adapter.__name__}.canonical_settings fails: {message_of(error)}") from error
    return signature.changed(one_spelling)


def missing_declarations(cls: type[Any], base: type[Any]) -> list[str]:
    """Return the methods and the class attributes that a subclass of ``base`` must define and does not."""
    attributes = [
        name
        for name, hint in inspect.get_annotations(base).items()
        if str(hint).startswith("ClassVar") and not hasattr(cls, name)
    ]
    return sorted({*attributes, *getattr(cls, "__abstractmethods__", ())})


def missing_attributes(instance: Any) -> list[str]:
    """Return the attributes that base classes of the harness annotate and the constructor has not set."""
    return sorted(
        name
        for base in type(instance).__mro__
        if base.__module__.startswith("fusion_bench.")
        for name, hint in inspect.get_annotations(base).items()
        if not str(hint).startswith("ClassVar") and not hasattr(instance, name)
    )


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """Return the validator that reads the type from JSON; None for a type without a JSON form."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        adapter.json_schema()
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema):
        return None
    return adapter


def equal_values(one: Json, other: Json) -> bool:
    """Return whether two JSON values are equal; 1 equals 1.0 and does not equal true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal_values(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal_values, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)
