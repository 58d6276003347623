"""The parts of the JSON schema that name components: modules, networks, text encoders, data sets, and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from fusion_bench.contract import FusionModule, TextEncoder, VisionLanguageNetwork
from fusion_bench.registry import Registry
from fusion_bench.samples.dataset import DataSet
from fusion_bench.spec.catalogue import Catalogue, NamedClass, find_class
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.schema import SchemaWithoutTitles
from fusion_bench.spec.document.tree import Location, Node

JsonSchema: TypeAlias = dict[str, Any]
_BY_PATH = r"^(.+\.py(:[A-Za-z_]\w*)?|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$"
"""A file with an optional class, or ``package.module:Class``."""
NULL: JsonSchema = {"type": "null"}


def arm_schema(section: JsonSchema, catalogue: Catalogue) -> JsonSchema:
    """Return the schema of an arm: ``section`` with the names and settings of modules and networks."""
    modules = _classes(catalogue.modules, FusionModule)
    networks = _classes(catalogue.networks, VisionLanguageNetwork)
    properties = {
        **section["properties"],
        "module": _or_null(_name(section, "module", modules)),
        "network": _or_null(_name(section, "network", networks)),
    }
    rules = [
        *_settings_by_name("module", modules, properties),
        *_settings_by_name("network", networks, properties),
    ]
    return {**section, "properties": properties, "allOf": rules}


def text_schema(section: JsonSchema, catalogue: Catalogue, *, partial: bool) -> JsonSchema:
    """Return the schema of the text encoder; without its name it is the default, or with ``partial`` not known."""
    encoders = _classes(catalogue.text_encoders, TextEncoder)
    properties = {**section["properties"], "encoder": _name(section, "encoder", encoders)}
    rules = _settings_by_name("encoder", encoders, properties)
    default = encoders.get(section["properties"]["encoder"]["default"])
    if default is not None and not partial:
        unnamed = {"if": {"not": {"required": ["encoder"]}}, "then": _settings(default, properties)}
        rules = [*rules, unnamed]
    return {**section, "properties": properties, "allOf": rules}


def data_schema(section: JsonSchema, catalogue: Catalogue, *, partial: bool) -> JsonSchema:
    """Return the schema of the data set.

    Args:
        section: the schema of the keys that every data set has.
        catalogue: the components.
        partial: for a file that extends another: no key is required, and null drops an inherited key.
    """
    datasets = _classes(catalogue.datasets, DataSet)
    properties = {**section["properties"], "name": _name(section, "name", datasets)}
    if partial:
        properties = {name: _or_null(item) for name, item in properties.items()}
    rules = []
    for name, found in datasets.items():
        if found is None:
            continue
        then = _settings(found, properties)
        then["properties"]["task"] = {"enum": [*found.cls.tasks, None]}
        if partial:
            then["properties"] |= {key: _or_null(then["properties"][key]) for key in found.signature.names}
            then["additionalProperties"] = NULL
        elif required := [key for key in found.signature.names if key not in found.signature.defaults]:
            then["required"] = required
        rules.append(_rule("name", name, then))
    return {**section, "properties": properties, "allOf": rules}


def _classes(registry: Registry[Any], base: type[Any]) -> Mapping[str, NamedClass | None]:
    """Return every registered class by name; None for one that cannot be imported, whose settings are not known."""
    nowhere = Location(override="schema")
    return {
        name: find_class(registry, base, Node(name, nowhere, name), Problems()) for name in registry.entries()
    }


def _name(section: JsonSchema, key: str, classes: Mapping[str, NamedClass | None]) -> JsonSchema:
    """Return the schema of a key that names a class: a registered name, a file, or a class by its path."""
    written = section["properties"][key]
    kept = {word: written[word] for word in ("description", "default") if word in written}
    return {**kept, "anyOf": [{"enum": [*classes]}, {"type": "string", "pattern": _BY_PATH}]}


def _settings_by_name(
    key: str, classes: Mapping[str, NamedClass | None], properties: JsonSchema
) -> list[JsonSchema]:
    """Return one rule for each class: where ``key`` names it, its settings and no others may stand there."""
    return [
        _rule(key, name, _settings(found, properties)) for name, found in classes.items() if found is not None
    ]


def _rule(key: str, name: str, then: JsonSchema) -> JsonSchema:
    return {"if": {"properties": {key: {"const": name}}, "required": [key]}, "then": then}


def _settings(found: NamedClass, properties: JsonSchema) -> JsonSchema:
    """Return the schema of the settings of a class beside the keys of the section, whose schemas stand elsewhere."""
    schema = found.signature.adapter.json_schema(schema_generator=SchemaWithoutTitles)
    if "$defs" in schema:  # types with a name of their own; the reader checks them
        schema = {"properties": dict.fromkeys(found.signature.names, True)}
    settings = {
        name: {**item, "default": found.signature.defaults[name]}
        if isinstance(item, dict) and name in found.signature.defaults
        else item
        for name, item in schema.get("properties", {}).items()
    }
    return {
        "properties": {**dict.fromkeys(properties, True), **settings},
        "additionalProperties": False,
    }


def _or_null(schema: JsonSchema) -> JsonSchema:
    return {"anyOf": [schema, NULL]}
