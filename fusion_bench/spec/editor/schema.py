"""The JSON schema of study files for editors: every key, every registered name, and the settings of each component.

The schema accepts what the reader accepts, and refuses unknown keys and names, values of the wrong type and missing
keys. What needs other files, the data or several keys at once (a circle of files, a metric that the data set does not
have) is left to the reader. A file with ``extends`` may leave out any key, because the other file may have it.
"""

from __future__ import annotations

import json
from typing import Any

from fusion_bench.spec.catalogue import Catalogue
from fusion_bench.spec.document.schema import study_schema
from fusion_bench.spec.document.sections import OPEN, OVERRIDABLE, SECTIONS, UNVARIED, VARIABLE
from fusion_bench.spec.editor.components import NULL, JsonSchema, arm_schema, data_schema, text_schema

_ONE_CLASS: JsonSchema = {
    "oneOf": [
        {"required": [kind], "properties": {kind: {"type": "string"}}} for kind in ("module", "network")
    ]
}
_LABEL = r"^[^/]*[^/\s][^/]*$"


def editor_schema(catalogue: Catalogue) -> dict[str, Any]:
    """Return the JSON schema of study files that may name the components of a catalogue."""
    schema = study_schema()
    defs, required = schema["$defs"], schema.pop("required")
    missing = {
        name: section.pop("required", [])
        for name, section in defs.items()
        if name != "ExpectedSection"  # it stands in a list, which one file writes whole
    }
    data = defs.pop("DataSection")
    text = defs.pop("TextSection")
    defs["ArmSection"] = arm_schema(defs["ArmSection"], catalogue)
    defs["TextSection"] = text_schema(text, catalogue, partial=False)
    defs["TextChanges"] = text_schema(text, catalogue, partial=True)
    defs["DataSection"] = data_schema(data, catalogue, partial=False)
    defs["DataChanges"] = data_schema(data, catalogue, partial=True)
    _write_keys_with_dots(defs)
    properties = schema["properties"]
    properties["arms"]["anyOf"][0]["propertyNames"] = {"pattern": _LABEL}
    properties["contexts"]["additionalProperties"] = _context()
    properties["data"] = {"description": data["description"], "type": "object"}
    properties["text"] = {"description": text["description"], "type": "object"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of fusion-bench",
        **{key: value for key, value in schema.items() if key not in {"$defs", "title"}},
        "if": {"required": ["extends"], "properties": {"extends": {"not": NULL}}},
        "then": {
            "properties": {"data": {"$ref": "#/$defs/DataChanges"}, "text": {"$ref": "#/$defs/TextChanges"}}
        },
        "else": _whole(required, missing),
        "$defs": defs,
    }


def schema_text(catalogue: Catalogue) -> str:
    """Return `editor_schema` as the text of a file."""
    return json.dumps(editor_schema(catalogue), indent=1, ensure_ascii=False) + "\n"


def _whole(required: list[str], missing: dict[str, list[str]]) -> JsonSchema:
    """Return the rules of a file that extends no other: what must be there.

    Args:
        required: the keys that the file must have.
        missing: the keys that each section must have.
    """
    needed = {name: {"required": missing[f"{name.capitalize()}Section"]} for name in ("backbone", "start")}
    ranges = {"additionalProperties": {"required": missing["RangeSection"]}}
    base = {"base": _ONE_CLASS}
    name, *others = missing["DataSection"]
    return {
        "required": required,
        "properties": {
            **needed,
            "text": {"$ref": "#/$defs/TextSection"},
            "data": {"allOf": [{"$ref": "#/$defs/DataSection"}, {"required": [name]}]},
            "arms": {"additionalProperties": {"type": "object", **_ONE_CLASS}, "minProperties": 1},
            "vary": {"required": missing["VarySection"], "properties": base},
            "search": {"required": missing["SearchSection"], "properties": {"space": ranges}},
        },
        "oneOf": [{"required": [key], "properties": {key: {"type": "object"}}} for key in ("arms", "vary")],
        "if": {"required": ["official"], "properties": {"official": {"const": True}}},
        "else": {"properties": {"data": {"required": others}}},
    }


def _write_keys_with_dots(defs: JsonSchema) -> None:
    """Give the keys of ``vary`` and ``search.space`` the values that the same keys have in their sections."""
    setting = {"^[^.]+$": {"type": "array", "minItems": 1}}
    lists = {
        key: {"type": "array", "items": item, "minItems": 1}
        for key, item in _keys_with_dots(VARIABLE).items()
    }
    for way in ("one_at_a_time", "grid"):
        defs["VarySection"]["properties"][way] |= {
            "properties": lists,
            "patternProperties": {**setting, **_open_sections(setting["^[^.]+$"])},
            "additionalProperties": False,
        }
    space = defs["SearchSection"]["properties"]["space"]
    values = space["additionalProperties"]
    ranges = {"$ref": "#/$defs/RangeSection"}
    space |= {
        "properties": {
            key: {"oneOf": [ranges, {"type": "array", "items": item, "minItems": 1}]}
            for key, item in _keys_with_dots(OVERRIDABLE).items()
            if key != "fusion.slot"  # a table never mixes slots
        },
        "patternProperties": {"^[^.]+$": values},
        "additionalProperties": False,
    }


def _keys_with_dots(sections: tuple[str, ...]) -> dict[str, JsonSchema]:
    """Return the schema of each key of some sections, such as ``train.epochs``."""
    return {
        f"{section}.{key}": {"$ref": f"#/$defs/{SECTIONS[section].__name__}/properties/{key}"}
        for section in sections
        for key in SECTIONS[section].model_fields
        if f"{section}.{key}" not in UNVARIED
    }


def _open_sections(value: JsonSchema) -> dict[str, JsonSchema]:
    """Return patterns for the sections that take settings of a class, such as ``text.hidden``."""
    return {rf"^{section}\.[^.]+$": value for section in OPEN}


def _context() -> JsonSchema:
    return {
        "type": "object",
        "minProperties": 1,
        "properties": _keys_with_dots(VARIABLE),
        "patternProperties": _open_sections({}),
        "additionalProperties": False,
    }
