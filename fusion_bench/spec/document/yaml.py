"""Reads YAML 1.2 texts as trees with locations; tags that construct objects are refused, and so are large texts."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from fusion_bench.spec.document.bounds import (
    MAX_KEY,
    Bounds,
    TooLargeError,
    check_level,
)
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Location, Node, Scalar

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset({"null", "bool", "int", "float"})
_TEXT_TAGS = frozenset({"str", "timestamp", "merge", "value"})
_MERGE = "<<"
_CONTROLS = frozenset({"Cc", "Cs"})  # Unicode's categories of control characters and of halves of a character
_LAYOUT = frozenset("\t\n\r")


def read_text(
    text: str, location: Location, problems: Problems, path: str = "", bounds: Bounds | None = None
) -> Node | None:
    """Return the tree of a YAML text; None if it is not YAML or too large.

    Args:
        text: the text.
        location: the file or the override that holds the text.
        problems: collects the mistakes.
        path: the dotted path of the text in the study.
        bounds: counts what was read for the study before.
    """
    bounds = bounds or Bounds()
    reader = YAML(typ="safe", pure=True)
    reader.Composer = _BoundedComposer
    try:
        bounds.add_text(len(text.encode(errors="surrogatepass")))
        composed = reader.compose(text)
    except (YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        problems.add(Node(None, _at_line(location, line), path), f"this is not YAML: {reason}")
        return None
    except TooLargeError as error:
        line = reader.composer.line if isinstance(reader.composer, _BoundedComposer) else 1
        problems.add(Node(None, _at_line(location, line), path), str(error))
        return None
    if composed is None:
        return Node(None, _at_line(location, 1), path)
    converter = _Converter(location, problems, bounds)
    try:
        return converter.convert(composed, path, composed.start_mark.line + 1)
    except TooLargeError as error:
        problems.add(Node(None, _at_line(location, converter.line), path), str(error))
        return None


def _at_line(location: Location, line: int) -> Location:
    return Location(location.file, line) if location.override is None else location


class _BoundedComposer(Composer):
    """Composes nodes and stops at the bounds, so that a large text takes neither time nor memory.

    The bounds of the study count values after the expansion of aliases; here they are not expanded yet.
    """

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader=loader)
        self.warn_double_anchors = False  # an anchor may be used again; an alias means the last one
        self.line = 1
        self._level = 0
        self._bounds = Bounds()

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.line = self.parser.peek_event().start_mark.line + 1
        self._level += 1
        check_level(self._level - 1)
        self._bounds.add_value()
        node = super().compose_node(parent, index)
        self._level -= 1
        return node


class _Converter:
    """Converts composed YAML into a tree; records duplicate keys, unknown tags and recursive aliases as mistakes.

    Attributes:
        line: the line of the value that was converted last.
    """

    def __init__(self, location: Location, problems: Problems, bounds: Bounds) -> None:
        self._location, self._problems, self._bounds = location, problems, bounds
        self._constructor = YAML(typ="safe", pure=True).constructor
        self._ancestors: list[Any] = []
        self.line = 1

    def convert(self, composed: Any, path: str, line: int) -> Node:
        if any(composed is outer for outer in self._ancestors):
            return self._refuse(path, line, "an alias may not be used inside the value that it names")
        self.line = line
        self._bounds.add_value()
        check_level(len(self._ancestors))
        self._ancestors.append(composed)
        try:
            if isinstance(composed, ScalarNode):
                return self._scalar(composed, path, line)
            if not self._has_tag(composed, "map" if isinstance(composed, MappingNode) else "seq"):
                return self._refuse_tag(composed, path, line)
            if isinstance(composed, MappingNode):
                return Node(self._entries(composed, path), _at_line(self._location, line), path)
            assert isinstance(composed, SequenceNode)  # noqa: S101 - the three kinds of node
            items = [
                self.convert(item, f"{path}[{number}]", item.start_mark.line + 1)
                for number, item in enumerate(composed.value)
            ]
            return Node(items, _at_line(self._location, line), path)
        finally:
            self._ancestors.pop()

    def _entries(self, composed: Any, path: str) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key, value in composed.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self._refuse(path, line, "a key must be plain text, not a list or a mapping")
                continue
            if not self._has_tag(key, *_TEXT_TAGS, *_SCALAR_TAGS):
                self._refuse_tag(key, path, line)
                continue
            name = str(key.value)
            if name == _MERGE and key.style is None:
                self._refuse(
                    path,
                    line,
                    "YAML merges (<<) are not supported; write the keys out, or put them into a file and write "
                    "extends: that_file.yaml",
                )
                continue
            if len(name) > MAX_KEY or (odd := _control_character(name)):
                reason = f"at most {MAX_KEY:,} characters" if len(name) > MAX_KEY else f"no character {odd}"
                self._refuse(path, line, f"a key may have {reason}")
                continue
            inner = f"{path}.{name}" if path else name
            if name in entries:
                first = entries[name].location
                earlier = "before" if first.override is not None else f"in line {first.line}"
                self._refuse(inner, line, f"duplicate key, already given {earlier}")
                continue
            entries[name] = self.convert(value, inner, line)
        return entries

    def _scalar(self, composed: Any, path: str, line: int) -> Node:
        if self._has_tag(composed, *_TEXT_TAGS):
            if odd := _control_character(composed.value):
                return self._refuse(path, line, f"text may not hold the character {odd}")
            return Node(str(composed.value), _at_line(self._location, line), path)
        if not self._has_tag(composed, *_SCALAR_TAGS):
            return self._refuse_tag(composed, path, line)
        try:
            value: Scalar = self._constructor.construct_object(composed)
        except (ValueError, YAMLError):
            tag = str(composed.tag).removeprefix(_TAG)
            return self._refuse(path, line, f"{composed.value!r} is not a valid {tag}")
        if isinstance(value, float):
            if not math.isfinite(value):
                return self._refuse(path, line, f"must be a finite number, not {composed.value}")
            value += 0.0  # -0.0 and 0.0 are one value and give one cell
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            return self._refuse(path, line, "is too large a whole number")
        return Node(value, _at_line(self._location, line), path)

    @staticmethod
    def _has_tag(composed: Any, *names: str) -> bool:
        return str(composed.tag) in {f"{_TAG}{name}" for name in names}

    def _refuse_tag(self, composed: Any, path: str, line: int) -> Node:
        return self._refuse(path, line, f"the tag {composed.tag} is not supported; write a plain value")

    def _refuse(self, path: str, line: int, message: str) -> Node:
        node = Node(None, _at_line(self._location, line), path)
        self._problems.add(node, message)
        return node


def _control_character(text: str) -> str:
    """Return the code of the first control character or half of a character; empty without one."""
    odd = (c for c in text if c not in _LAYOUT and unicodedata.category(c) in _CONTROLS)
    return next((f"U+{ord(character):04X}" for character in odd), "")
