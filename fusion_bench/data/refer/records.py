"""Fields of published records, checked as they are taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def int_field(record: Mapping[str, Any], key: str) -> int:
    """A whole number.

    Raises:
        KeyError: there is no such field.
        ValueError: it is something else.
    """
    value = record[key]
    if type(value) is not int:
        raise ValueError(f"{key} must be a whole number, not {value!r}")
    return value


def text_field(record: Mapping[str, Any], key: str) -> str:
    """Text; raises as `whole` does."""
    value = record[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text, not {value!r}")
    return value
