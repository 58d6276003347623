"""A study file as a tree whose every node knows where it was written, so that every error can say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fusion_bench.training.config import Json

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True)
class Place:
    """A line of a file, or the ``--set`` override whose key is ``override``."""

    file: Path | None = None
    line: int = 0
    override: str | None = None

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}" if self.override is None else f"--set {self.override}"

    @property
    def folder(self) -> Path:
        """Where a relative path written here starts: the file's folder, or the working directory."""
        return self.file.parent if self.file else Path()


@dataclass(frozen=True)
class Node:
    """A value, the line of its key (of the value itself in a list), and its dotted path in the study."""

    value: Scalar | Mapping[str, Node] | list[Node]
    place: Place
    path: str = ""

    @property
    def children(self) -> Mapping[str, Node]:
        """The entries of a mapping; nothing for any other value."""
        return self.value if isinstance(self.value, Mapping) else {}

    def plain(self) -> Json:
        """The value without its positions."""
        if isinstance(self.value, Mapping):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def having(self, children: Mapping[str, Node]) -> Node:
        """The same place with other entries."""
        return Node(children, self.place, self.path)

    def without(self, *keys: str) -> Node:
        """A mapping without some of its entries."""
        return self.having({key: child for key, child in self.children.items() if key not in keys})

    def at(self, location: tuple[str | int, ...]) -> tuple[Node, str | int | None]:
        """The deepest node on the way to ``location``, and the last part of the way that does not exist.

        Parts that name no entry (the alternatives of a union, as a validator reports them) are skipped.
        """
        node, absent = self, None
        for part in location:
            if isinstance(part, str) and part in node.children:
                node = node.children[part]
            elif isinstance(part, int) and isinstance(node.value, list) and 0 <= part < len(node.value):
                node = node.value[part]
            else:
                absent = part
        return node, absent


def merged(base: Node | None, over: Node | None) -> Node | None:
    """``over`` laid on ``base``: mappings are merged key by key, everything else is replaced."""
    if base is None or over is None:
        return over or base
    if not (isinstance(base.value, Mapping) and isinstance(over.value, Mapping)):
        return over
    entries = dict(base.value)
    for key, child in over.value.items():
        both = merged(entries.get(key), child)
        assert both is not None  # noqa: S101 - over is a node
        entries[key] = both
    return over.having(entries)


def assigned(node: Node, key: str, value: Node) -> Node:
    """``node`` with the value at a dotted key replaced.

    Where the entries of a mapping themselves contain dots, the longest existing one is meant.
    """
    existing = [name for name in node.children if key == name or key.startswith(f"{name}.")]
    name = max(existing, key=len) if existing else key.partition(".")[0]
    rest = key[len(name) + 1 :]
    if rest:
        path = f"{node.path}.{name}" if node.path else name
        inner = node.children.get(name, Node({}, value.place, path))
        if not isinstance(inner.value, Mapping):
            inner = Node({}, value.place, path)
        value = assigned(inner, rest, value)
    return node.having({**node.children, name: value})
