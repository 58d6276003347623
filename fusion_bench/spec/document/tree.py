"""The tree of a study file, in which every node knows where it was written, so that every error can say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fusion_bench.training.config import Json

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True)
class Location:
    """A line of a file, or a ``--set`` override.

    Attributes:
        file: the file; None for an override.
        line: the line in the file, from 1.
        override: the key of the override; None for a file.
    """

    file: Path | None = None
    line: int = 0
    override: str | None = None

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}" if self.override is None else f"--set {self.override}"

    @property
    def folder(self) -> Path:
        """The folder that a relative path starts from: the file's folder, or the working directory."""
        return self.file.parent if self.file else Path()


@dataclass(frozen=True)
class Node:
    """A value of the study file.

    Attributes:
        value: a scalar, a mapping of nodes or a list of nodes.
        location: the line of its key; of the value itself in a list.
        path: its dotted path in the study, such as ``arms.film.hidden`` or ``expected[0].arm``.
    """

    value: Scalar | Mapping[str, Node] | list[Node]
    location: Location
    path: str = ""

    @property
    def children(self) -> Mapping[str, Node]:
        """The entries of a mapping; empty for any other value."""
        return self.value if isinstance(self.value, Mapping) else {}

    def plain(self) -> Json:
        """Return the value as JSON types, without locations."""
        if isinstance(self.value, Mapping):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def having(self, children: Mapping[str, Node]) -> Node:
        """Return a mapping with these entries at the same location and path."""
        return Node(children, self.location, self.path)

    def without(self, *keys: str) -> Node:
        """Return the mapping without some of its entries."""
        return self.having({key: child for key, child in self.children.items() if key not in keys})

    def at(self, key_path: tuple[str | int, ...]) -> tuple[Node, str | int | None]:
        """Return the deepest existing node on a path, and the last part of the path that does not exist.

        Parts that name no entry are skipped; a validator reports such parts for the alternatives of a union.
        """
        node, absent = self, None
        for part in key_path:
            if isinstance(part, str) and part in node.children:
                node = node.children[part]
            elif isinstance(part, int) and isinstance(node.value, list) and 0 <= part < len(node.value):
                node = node.value[part]
            else:
                absent = part
        return node, absent


def written_path(node: Node, prefix: str = "") -> Path:
    """Return the path that a node writes, without a prefix such as ``file:``.

    A relative path starts at the folder of the file that writes it; ``~`` is a home folder.
    """
    path = Path(str(node.value).removeprefix(prefix))
    try:
        path = path.expanduser()
    except RuntimeError:  # there is no such user; the caller finds no such file
        return node.location.folder / path
    return node.location.folder / path


def merge_nodes(base: Node | None, override: Node | None) -> Node | None:
    """Return ``base`` with the values of ``override``: mappings are merged key by key, other values are replaced."""
    if base is None or override is None:
        return override or base
    if not (isinstance(base.value, Mapping) and isinstance(override.value, Mapping)):
        return override
    entries = dict(base.value)
    for key, child in override.value.items():
        merged = merge_nodes(entries.get(key), child)
        assert merged is not None  # noqa: S101 - child is a node
        entries[key] = merged
    return override.having(entries)


def set_value(node: Node, key: str, value: Node) -> Node:
    """Return ``node`` with the value at a dotted key replaced; missing mappings on the way are created.

    Where keys of a mapping contain dots themselves, the longest existing key is used.
    """
    existing = [name for name in node.children if key == name or key.startswith(f"{name}.")]
    name = max(existing, key=len) if existing else key.partition(".")[0]
    rest = key[len(name) + 1 :]
    if rest:
        path = f"{node.path}.{name}" if node.path else name
        inner = node.children.get(name, Node({}, value.location, path))
        if not isinstance(inner.value, Mapping):
            inner = Node({}, value.location, path)
        value = set_value(inner, rest, value)
    return node.having({**node.children, name: value})
