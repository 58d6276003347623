"""Reading study files: YAML 1.2 with positions, ``extends`` and ``--set``; no object is ever constructed."""

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
from fusion_bench.spec.document.tree import Node, Place, Scalar, assigned, merged

_TAG = "tag:yaml.org,2002:"
_PLAIN = frozenset({"null", "bool", "int", "float"})
_TEXT = frozenset({"str", "timestamp", "merge", "value"})


def read_study_tree(path: Path, overrides: Sequence[str], problems: Problems) -> Node | None:
    """Read a study file, the files that it extends, and the overrides, as one tree.

    Returns:
        The merged tree without ``extends``; None if a file cannot be read or is not YAML (noted).
    """
    tree = _read_extended(Path(os.path.normpath(path)), (), None, problems)
    for override in overrides:
        tree = _overridden(tree, override, problems) if tree else None
    return tree


def read_text(text: str, place: Place, problems: Problems, path: str = "") -> Node | None:
    """Parse YAML text; ``place`` gives its file, or the override that it stands in."""
    try:
        composed = YAML(typ="safe", pure=True).compose(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        problems.add(Node(None, _on(place, line), path), f"this is not YAML: {reason}")
        return None
    except ValueError as error:
        problems.add(Node(None, _on(place, 1), path), f"this is not YAML: {error}")
        return None
    if composed is None:
        return Node(None, _on(place, 1), path)
    return _Converter(place, problems).convert(composed, path, composed.start_mark.line + 1)


def _on(place: Place, line: int) -> Place:
    return Place(place.file, line) if place.override is None else place


class _Converter:
    """Turns composed YAML into a tree; notes duplicate keys, foreign tags and recursion."""

    def __init__(self, place: Place, problems: Problems) -> None:
        self._place, self._problems = place, problems
        self._constructor = YAML(typ="safe", pure=True).constructor
        self._open: list[Any] = []

    def convert(self, composed: Any, path: str, line: int) -> Node:
        if any(composed is outer for outer in self._open):
            return self._refused(path, line, "an alias may not stand inside what it names")
        self._open.append(composed)
        try:
            if isinstance(composed, MappingNode):
                return Node(self._entries(composed, path), _on(self._place, line), path)
            if isinstance(composed, SequenceNode):
                items = [
                    self.convert(item, f"{path}[{number}]", item.start_mark.line + 1)
                    for number, item in enumerate(composed.value)
                ]
                return Node(items, _on(self._place, line), path)
            return self._scalar(composed, path, line)
        finally:
            self._open.pop()

    def _entries(self, composed: Any, path: str) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key, value in composed.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self._refused(path, line, "a key must be a single word")
                continue
            name = str(key.value)
            inner = f"{path}.{name}" if path else name
            if name in entries:
                first = entries[name].place
                earlier = "before" if first.override is not None else f"in line {first.line}"
                self._refused(inner, line, f"duplicate key, already given {earlier}")
                continue
            entries[name] = self.convert(value, inner, line)
        return entries

    def _scalar(self, composed: Any, path: str, line: int) -> Node:
        tag = str(composed.tag).removeprefix(_TAG)
        if tag in _TEXT:
            return Node(str(composed.value), _on(self._place, line), path)
        if tag not in _PLAIN:
            return self._refused(path, line, f"the tag {composed.tag} is not understood; write a plain value")
        try:
            value: Scalar = self._constructor.construct_object(composed)
        except (ValueError, YAMLError):
            return self._refused(path, line, f"{composed.value!r} is not a valid {tag}")
        if isinstance(value, float) and not math.isfinite(value):
            return self._refused(path, line, f"must be a finite number, not {composed.value}")
        return Node(value, _on(self._place, line), path)

    def _refused(self, path: str, line: int, message: str) -> Node:
        node = Node(None, _on(self._place, line), path)
        self._problems.add(node, message)
        return node


def _read_extended(
    path: Path, chain: tuple[Path, ...], asked: Node | None, problems: Problems
) -> Node | None:
    """Read ``path``, which ``asked`` (an ``extends`` entry) names, and lay it on what it extends."""
    tree = _read_file(path, asked or Node(None, Place(path, 1)), problems)
    if tree is None or "extends" not in tree.children:
        return tree
    parents, link = tree.children["extends"], (*chain, path.resolve())
    named = parents.value if isinstance(parents.value, list) else [parents]
    base: Node | None = None
    for parent in named:
        if not isinstance(parent.value, str):
            problems.add(parent, "must be the path of another study file, or a list of them")
            continue
        base_path = Path(os.path.normpath(path.parent / parent.value))
        if base_path.resolve() in link:
            problems.add(parent, f"goes in a circle: {' -> '.join(file.name for file in (*link, base_path))}")
            return None
        found = _read_extended(base_path, link, parent, problems)
        if found is None:
            return None
        base = _laid_on(base, found)
    return _laid_on(base, tree.without("extends"))


def _laid_on(base: Node | None, over: Node) -> Node | None:
    """``over`` merged into ``base``; a null under ``data`` takes away what ``base`` has there.

    Data sets have settings of their own: a study of another one must be able to drop those it has no use for.
    """
    tree = merged(base, over)
    if base is None or tree is None:
        return tree
    ours, theirs = (level.children.get("data", level.having({})).children for level in (over, base))
    dropped = [key for key, node in ours.items() if node.value is None and key in theirs]
    if not dropped:
        return tree
    return tree.having({**tree.children, "data": tree.children["data"].without(*dropped)})


def _read_file(path: Path, asked: Node, problems: Problems) -> Node | None:
    """The mapping in a file; ``asked`` is where an error about the file as a whole belongs."""
    try:
        tree = read_text(path.read_text(encoding="utf-8"), Place(path), problems)
    except OSError as error:
        problems.add(asked, f"cannot read {path}: {error.strerror}")
        return None
    except UnicodeDecodeError:
        problems.add(asked, f"{path} is not UTF-8 text")
        return None
    if tree is not None and not isinstance(tree.value, dict):
        problems.add(tree, "a study is a mapping that starts with 'version: 1'")
        return None
    return tree


def _overridden(tree: Node, override: str, problems: Problems) -> Node:
    key, equals, text = override.partition("=")
    key = key.strip()
    place = Place(override=key or override)
    if not equals or not key:
        problems.add(Node(None, place), "write KEY=VALUE, for example --set train.epochs=3")
        return tree
    if key == "extends":
        problems.add(Node(None, place), "extends can only stand in the study file")
        return tree
    value = read_text(text, place, problems, key)
    return tree if value is None else assigned(tree, key, value)
