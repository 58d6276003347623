"""``docs/reference/study_file.md``: every key of a study file, from the JSON schema that reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fusion_bench.spec.document.schema import study_schema

Schema = Mapping[str, Any]

_HEAD = """\
# Study file

Written by `python tools/document.py` from the JSON schema of the study file; do not edit.

A study file is YAML 1.2. Every section below is a mapping. A key that no section knows is an error that names the
nearest known key. `fusion-bench schema` prints the schema for an editor; [Write a study](../how-to/write_a_study.md)
explains how the sections work together.
"""
_ROOT = "Top level"
_SUFFIX = "Section"
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} items",
}


def study_file_page() -> str:
    """Return the page as Markdown: one table for the file itself and one for each of its sections."""
    schema = study_schema()
    sections = schema["$defs"]
    parts = [_HEAD, _section(_ROOT, schema)]
    parts += [_section(_title(name), sections[name]) for name in _reachable(schema, sections)]
    return "\n".join(parts)


def _reachable(schema: Schema, sections: Mapping[str, Schema]) -> list[str]:
    """Names of the sections in the order in which the file names them first."""
    order: list[str] = []
    for name in _references(schema.get("properties", {})):
        for found in (name, *_reachable(sections[name], sections)):
            if found not in order:
                order.append(found)
    return order


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _title(name: str) -> str:
    return name.removesuffix(_SUFFIX).lower()


def _section(title: str, schema: Schema) -> str:
    heading = title if title == _ROOT else f"`{title}`"
    description = " ".join(schema.get("description", "").split())
    required = schema.get("required") or next(
        (way["required"] for way in schema.get("anyOf", []) if way["required"] != ["extends"]), []
    )
    rows = "\n".join(
        _row(name, item, required=name in required) for name, item in schema["properties"].items()
    )
    return (
        f"## {heading}\n\n{description}\n\n| key | value | default | meaning |\n|:--|:--|:--|:--|\n{rows}\n"
    )


def _row(name: str, item: Schema, *, required: bool) -> str:
    default = "required" if required else ""
    if "default" in item:  # a section's defaults stand in its own table
        default = f"`{json.dumps(item['default'])}`" if "$ref" not in item else "see there"
    cells = (f"`{name}`", _kind(item), default, item.get("description", ""))
    return f"| {' | '.join(' '.join(str(cell).split()).replace('|', chr(92) + '|') for cell in cells)} |"


def _kind(item: Schema) -> str:
    """Return a value's type in words, with a link where it is a section of its own."""
    if "$ref" in item:
        title = _title(item["$ref"].rpartition("/")[2])
        return f"[{title}](#{title})"
    for way in ("anyOf", "oneOf"):
        if way in item:
            kinds = dict.fromkeys(kind for option in item[way] for kind in _kind(option).split(" or "))
            return " or ".join(sorted(kinds, key=lambda kind: kind == "null"))
    if "const" in item:
        return f"`{json.dumps(item['const'])}`"
    if "enum" in item:
        return ", ".join(f"`{value}`" for value in item["enum"])
    bounds = [
        text.format(item[key]) for key, text in _BOUNDS.items() if key in item and "prefixItems" not in item
    ]
    return ", ".join([_plain(item), *bounds])


def _plain(item: Schema) -> str:
    kind = item.get("type", "any value")
    if kind == "array" and "prefixItems" in item:
        return f"list of {len(item['prefixItems'])}: {_kind(item['prefixItems'][0])}"
    if kind == "array":
        return f"list of {_kind(item['items'])}" if item.get("items") else "list"
    if kind == "object":
        inner = item.get("additionalProperties")
        return f"label -> {_kind(inner)}" if isinstance(inner, Mapping) and inner else "mapping"
    return {
        "null": "null",
        "string": "text",
        "number": "number",
        "integer": "whole number",
        "boolean": "true or false",
    }.get(kind, kind)
