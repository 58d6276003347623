"""What settings a class takes, read from its constructor: names, types and defaults.

Modules, text encoders, data adapters and networks declare nothing twice: their keyword-only parameters
are the settings that a study may write, and the type hints are what it is held to.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, Required, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, with_config
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError
from typing_extensions import TypedDict

from fusion_bench.errors import FusionBenchError
from fusion_bench.training.config import Json


@dataclass(frozen=True, eq=False)
class Signature:
    """The settings of a class.

    Attributes:
        adapter: validates a mapping of settings; nothing unknown is ignored.
        defaults: JSON form of the default of each setting that has one.
        names: every setting.
        paths: those that name a file or a folder.
    """

    adapter: TypeAdapter[dict[str, Any]]
    defaults: Mapping[str, Json]
    names: tuple[str, ...]
    paths: tuple[str, ...] = ()

    def written(self, validated: Mapping[str, Any]) -> dict[str, Json]:
        """Validated settings as JSON values."""
        return cast("dict[str, Json]", self.adapter.dump_python(dict(validated), mode="json"))

    def kept(self, validated: Mapping[str, Any]) -> dict[str, Json]:
        """The same, those equal to a default left out."""
        return {
            name: value
            for name, value in self.written(validated).items()
            if name not in self.defaults or not same(value, self.defaults[name])
        }


def signature_of(cls: type[Any]) -> Signature:
    """The keyword-only parameters of a constructor.

    A parameter with a default whose type no text can give (a function, a tensor) is no setting.

    Raises:
        FusionBenchError: a type hint cannot be evaluated, or a required parameter cannot be written.
    """
    where = f"{cls.__module__}.{cls.__qualname__}"
    try:
        hints = get_type_hints(cls.__init__, include_extras=True)
    except (NameError, TypeError) as error:
        raise FusionBenchError(f"the type hints of {where}.__init__ cannot be read: {error}") from error
    fields: dict[str, Any] = {}
    defaults: dict[str, Json] = {}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        hint = hints.get(name, Any)
        adapter = _adapter(hint)
        if parameter.default is inspect.Parameter.empty:
            if adapter is None:
                raise FusionBenchError(
                    f"{where} requires {name!r}, whose type {hint} a study file cannot write"
                )
            fields[name] = Required[hint]
        elif adapter is not None:
            fields[name] = NotRequired[hint]
            defaults[name] = adapter.dump_python(parameter.default, mode="json", warnings=False)
    shape = with_config(ConfigDict(extra="forbid"))(TypedDict("Settings", fields))  # type: ignore[operator]
    paths = tuple(name for name in fields if hints.get(name) is Path)
    return Signature(TypeAdapter(shape), defaults, tuple(fields), paths)


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """What reads the type from JSON; None for a type that has no JSON form."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        adapter.json_schema()
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema):
        return None
    return adapter


def same(one: Json, other: Json) -> bool:
    """Equality in which 1 equals 1.0 but not true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)
