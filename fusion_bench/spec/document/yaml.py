"""Reads study files: YAML 1.2 with locations, ``extends`` and ``--set``; tags that construct objects are refused."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Location, Node, Scalar, merge_nodes, set_value

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset({"null", "bool", "int", "float"})
_TEXT_TAGS = frozenset({"str", "timestamp", "merge", "value"})
_MAX_VALUES = 20_000  # an alias repeats the value that it names: a few lines can stand for millions of values


def read_study_tree(path: Path, overrides: Sequence[str], problems: Problems) -> Node | None:
    """Read a study file, the files that it extends, and the overrides.

    Args:
        path: the study file.
        overrides: ``KEY=VALUE`` texts of ``--set``; a value is YAML.
        problems: collects the mistakes.

    Returns:
        The merged tree without ``extends``; None if a file cannot be read or is not YAML.
    """
    tree = _read_extended(Path(os.path.normpath(path)), (), None, problems)
    for override in overrides:
        tree = _apply_override(tree, override, problems) if tree else None
    return tree


def read_text(text: str, location: Location, problems: Problems, path: str = "") -> Node | None:
    """Return the tree of a YAML text; None if it is not YAML.

    Args:
        text: the text.
        location: the file or the override that holds the text.
        problems: collects the mistakes.
        path: the dotted path of the text in the study.
    """
    try:
        composed = YAML(typ="safe", pure=True).compose(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        problems.add(Node(None, _at_line(location, line), path), f"this is not YAML: {reason}")
        return None
    except ValueError as error:
        problems.add(Node(None, _at_line(location, 1), path), f"this is not YAML: {error}")
        return None
    except RecursionError:
        problems.add(Node(None, _at_line(location, 1), path), "lists and mappings are nested too deeply")
        return None
    if composed is None:
        return Node(None, _at_line(location, 1), path)
    try:
        return _Converter(location, problems).convert(composed, path, composed.start_mark.line + 1)
    except _TooManyValuesError:
        problems.add(Node(None, _at_line(location, 1), path), f"there are more than {_MAX_VALUES:,} values")
        return None


class _TooManyValuesError(Exception):
    pass


def _at_line(location: Location, line: int) -> Location:
    return Location(location.file, line) if location.override is None else location


class _Converter:
    """Converts composed YAML into a tree; records duplicate keys, unknown tags and recursive aliases as mistakes."""

    def __init__(self, location: Location, problems: Problems) -> None:
        self._location, self._problems = location, problems
        self._constructor = YAML(typ="safe", pure=True).constructor
        self._ancestors: list[Any] = []
        self._count = 0

    def convert(self, composed: Any, path: str, line: int) -> Node:
        if any(composed is outer for outer in self._ancestors):
            return self._refuse(path, line, "an alias may not be used inside the value that it names")
        self._count += 1
        if self._count > _MAX_VALUES:
            raise _TooManyValuesError
        self._ancestors.append(composed)
        try:
            if isinstance(composed, MappingNode):
                return Node(self._entries(composed, path), _at_line(self._location, line), path)
            if isinstance(composed, SequenceNode):
                items = [
                    self.convert(item, f"{path}[{number}]", item.start_mark.line + 1)
                    for number, item in enumerate(composed.value)
                ]
                return Node(items, _at_line(self._location, line), path)
            return self._scalar(composed, path, line)
        finally:
            self._ancestors.pop()

    def _entries(self, composed: Any, path: str) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key, value in composed.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self._refuse(path, line, "a key must be plain text, not a list or a mapping")
                continue
            name = str(key.value)
            inner = f"{path}.{name}" if path else name
            if name in entries:
                first = entries[name].location
                earlier = "before" if first.override is not None else f"in line {first.line}"
                self._refuse(inner, line, f"duplicate key, already given {earlier}")
                continue
            entries[name] = self.convert(value, inner, line)
        return entries

    def _scalar(self, composed: Any, path: str, line: int) -> Node:
        tag = str(composed.tag).removeprefix(_TAG)
        if tag in _TEXT_TAGS:
            return Node(str(composed.value), _at_line(self._location, line), path)
        if tag not in _SCALAR_TAGS:
            return self._refuse(path, line, f"the tag {composed.tag} is not supported; write a plain value")
        try:
            value: Scalar = self._constructor.construct_object(composed)
        except (ValueError, YAMLError):
            return self._refuse(path, line, f"{composed.value!r} is not a valid {tag}")
        if isinstance(value, float) and not math.isfinite(value):
            return self._refuse(path, line, f"must be a finite number, not {composed.value}")
        return Node(value, _at_line(self._location, line), path)

    def _refuse(self, path: str, line: int, message: str) -> Node:
        node = Node(None, _at_line(self._location, line), path)
        self._problems.add(node, message)
        return node


def _read_extended(
    path: Path, chain: tuple[Path, ...], entry: Node | None, problems: Problems
) -> Node | None:
    """Return the tree of a file, merged into the files that it extends; None after a mistake.

    Args:
        path: the file.
        chain: the files that extend this one, the study file first.
        entry: the ``extends`` entry that names the file; None for the study file.
        problems: collects the mistakes.
    """
    tree = _read_file(path, entry or Node(None, Location(path, 1)), problems)
    if tree is None or "extends" not in tree.children:
        return tree
    extends, chain = tree.children["extends"], (*chain, path.resolve())
    parents = extends.value if isinstance(extends.value, list) else [extends]
    base: Node | None = None
    for parent in parents:
        if not isinstance(parent.value, str):
            problems.add(parent, "must be the path of another study file, or a list of them")
            continue
        base_path = Path(os.path.normpath(path.parent / parent.value))
        if base_path.resolve() in chain:
            circle = " -> ".join(file.name for file in (*chain, base_path))
            problems.add(parent, f"files extend each other in a circle: {circle}; remove one extends")
            return None
        found = _read_extended(base_path, chain, parent, problems)
        if found is None:
            return None
        base = _merge_studies(base, found)
    return _merge_studies(base, tree.without("extends"))


def _merge_studies(base: Node | None, override: Node) -> Node | None:
    """Return ``base`` with the values of ``override``; a null under ``data`` removes the key that ``base`` has there.

    Each data set has its own settings, so a study of another data set must be able to remove those of its base.
    """
    tree = merge_nodes(base, override)
    if base is None or tree is None:
        return tree
    new, old = (level.children.get("data", level.having({})).children for level in (override, base))
    dropped = [key for key, node in new.items() if node.value is None and key in old]
    if not dropped:
        return tree
    return tree.having({**tree.children, "data": tree.children["data"].without(*dropped)})


def _read_file(path: Path, entry: Node, problems: Problems) -> Node | None:
    """Return the mapping in a file, or None; mistakes about the file as a whole are recorded at ``entry``."""
    try:
        tree = read_text(path.read_text(encoding="utf-8"), Location(path), problems)
    except OSError as error:
        problems.add(entry, f"cannot read {path}: {error.strerror}")
        return None
    except UnicodeDecodeError:
        problems.add(entry, f"{path} is not UTF-8 text")
        return None
    if tree is not None and not isinstance(tree.value, dict):
        problems.add(tree, "a study file must be a mapping (key: value) that starts with 'version: 1'")
        return None
    return tree


def _apply_override(tree: Node, override: str, problems: Problems) -> Node:
    key, equals, text = override.partition("=")
    key = key.strip()
    location = Location(override=key or override)
    if not equals or not key:
        problems.add(Node(None, location), "write KEY=VALUE, for example --set train.epochs=3")
        return tree
    if key == "extends":
        problems.add(Node(None, location), "extends can be written in the study file only")
        return tree
    value = read_text(text, location, problems, key)
    return tree if value is None else set_value(tree, key, value)
