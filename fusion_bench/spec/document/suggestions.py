"""Suggests the key that a study file may have meant by one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, Tag

from fusion_bench.registry import did_you_mean
from fusion_bench.spec.document.tree import Node

_SUGGESTED = 3
"""The most keys that an error suggests."""


def keys_at(model: type[BaseModel], key_path: tuple[str | int, ...]) -> list[str]:
    """Return the keys that a model has at a path, in which a tag stands for one model of a tagged union."""
    tagged: dict[str | None, type[BaseModel]] = {None: model}
    for part in key_path:
        current = next(iter(tagged.values()), None)
        if part in tagged:
            tagged = {None: tagged[str(part)]}
        elif current is not None and isinstance(part, str) and part in current.model_fields:
            field = current.model_fields[part]
            tagged = dict(_tagged_models(field.annotation))
    return list(dict.fromkeys(key for found in tagged.values() for key in found.model_fields))


class KeyIndex:
    """The places of the keys below the top level of a file: those that its sections have, and those written there.

    Args:
        model: the model of the file.
        node: the file as written.
    """

    def __init__(self, model: type[BaseModel], node: Node) -> None:
        sections = {name: _model_in(field.annotation) for name, field in model.model_fields.items()}
        self._known = tuple(model.model_fields)
        self._of_sections = _by_name(
            f"{name}.{key}" for name, section in sections.items() if section for key in section.model_fields
        )
        self._written = _by_name(_written_keys(node))

    def hint(self, key: str) -> str:
        """Return the places of an unknown key of the top level, or of the nearest key, as `did_you_mean` does."""
        places = [*self._of_sections.get(key, ()), *self._written.get(key, ())]
        if not places and not difflib.get_close_matches(key, self._known, n=1):
            near = difflib.get_close_matches(key, self._of_sections, n=1)
            places = self._of_sections[near[0]] if near else []
        if not places:
            return did_you_mean(key, self._known)
        return f" (did you mean {' or '.join(map(repr, list(dict.fromkeys(places))[:_SUGGESTED]))}?)"


def _by_name(paths: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(path.rpartition(".")[2], []).append(path)
    return found


def _written_keys(node: Node) -> Iterator[str]:
    """Yield the paths of the keys below the top level, such as ``arms.film.kernel_size``."""
    for child in node.children.values():
        for inner in child.children.values():
            yield inner.path
        yield from _written_keys(child)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    return next((model for _, model in _tagged_models(annotation)), None)


def _tagged_models(annotation: Any, tag: str | None = None) -> Iterator[tuple[str | None, type[BaseModel]]]:
    """Yield the models of an annotation, each with its tag in a tagged union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield tag, annotation
        return
    parts = get_args(annotation)
    tag = next((part.tag for part in parts if isinstance(part, Tag)), tag)
    for part in parts:
        yield from _tagged_models(part, tag)
