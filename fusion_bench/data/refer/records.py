"""Access to fields of published records, with a check of their type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def int_field(record: Mapping[str, Any], key: str) -> int:
    """Return an integer field.

    Raises:
        KeyError: the field is missing.
        ValueError: the value is not an integer.
    """
    value = record[key]
    if type(value) is not int:
        raise ValueError(f"{key} must be a whole number, not {value!r}")
    return value


def text_field(record: Mapping[str, Any], key: str) -> str:
    """Return a text field.

    Raises:
        KeyError: the field is missing.
        ValueError: the value is not text.
    """
    value = record[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text, not {value!r}")
    return value
