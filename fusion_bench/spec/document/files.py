"""Reads study files: the file itself, the files that it ``extends``, and the overrides of ``--set``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fusion_bench.spec.document.bounds import MAX_BYTES, MAX_LEVELS, Bounds, TooLargeError
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.seeds_section import are_other_kind
from fusion_bench.spec.document.tree import Location, Node, merge_nodes, set_value
from fusion_bench.spec.document.yaml import read_text
from fusion_bench.storage import check_regular

_DROPPABLE = ("data", "arms")
"""The sections in which a null removes an inherited entry: each data set has its own settings."""


def read_study_tree(
    path: Path, overrides: Sequence[str], problems: Problems, bounds: Bounds | None = None
) -> Node | None:
    """Read a study file, the files that it extends, and the overrides.

    Args:
        path: the study file.
        overrides: ``KEY=VALUE`` texts of ``--set``; a value is YAML.
        problems: collects the mistakes.
        bounds: counts what was read for the study before.

    Returns:
        The merged tree without ``extends``; None if a file cannot be read or is not YAML.
    """
    bounds = bounds or Bounds()
    tree = _read_extended(Path(os.path.normpath(path)), (), None, problems, bounds)
    for override in overrides:
        tree = _apply_override(tree, override, problems, bounds) if tree else None
    return tree


def _read_extended(
    path: Path, chain: tuple[Path, ...], entry: Node | None, problems: Problems, bounds: Bounds
) -> Node | None:
    """Return the tree of a file, merged into the files that it extends; None after a mistake.

    Args:
        path: the file.
        chain: the files that extend this one, the study file first.
        entry: the ``extends`` entry that names the file; None for the study file.
        problems: collects the mistakes.
        bounds: counts what is read.
    """
    tree = _read_file(path, entry or Node(None, Location(path, 1)), problems, bounds)
    if tree is None or "extends" not in tree.children:
        return tree
    extends, chain = tree.children["extends"], (*chain, real_path(path))
    parents = extends.value if isinstance(extends.value, list) else [extends]
    base: Node | None = None
    for parent in parents:
        if not isinstance(parent.value, str):
            problems.add(parent, "must be the path of another study file, or a list of them")
            continue
        base_path = Path(os.path.normpath(path.parent / parent.value))
        if real_path(base_path) in chain:
            circle = " -> ".join(file.name for file in (*chain, base_path))
            problems.add(parent, f"files extend each other in a circle: {circle}; remove one extends")
            return None
        found = _read_extended(base_path, chain, parent, problems, bounds)
        if found is None:
            return None
        base = _merge_studies(base, found)
    return _merge_studies(base, tree.without("extends"))


def real_path(path: Path) -> Path:
    """Return the path without symbolic links; a circle of links is left as it is."""
    return Path(os.path.realpath(path))


def _merge_studies(base: Node | None, override: Node) -> Node | None:
    """Return ``base`` with the values of ``override``; a null under ``data`` or ``arms`` drops its entry.

    Under ``seeds``, looks replace numbers of seeds and numbers replace looks: the keys of both together mean nothing.
    """
    if base is not None and "seeds" in base.children and "seeds" in override.children:
        old, new = base.children["seeds"], override.children["seeds"]
        base = base.without("seeds") if are_other_kind(old.children, new.children) else base
    tree = merge_nodes(base, override)
    return tree if base is None or tree is None else _without_dropped(tree, base)


def _without_dropped(tree: Node, base: Node) -> Node:
    """Return the tree without the nulls that stand for entries of ``base``; other nulls are left to the checks."""
    for name in _DROPPABLE:
        section, old = tree.children.get(name), base.children.get(name)
        if section is None or old is None:
            continue
        dropped = [
            key for key, node in section.children.items() if node.value is None and key in old.children
        ]
        if dropped:
            tree = tree.having({**tree.children, name: section.without(*dropped)})
    return tree


def _read_file(path: Path, entry: Node, problems: Problems, bounds: Bounds) -> Node | None:
    """Return the mapping in a file, or None; mistakes about the file as a whole are recorded at ``entry``."""
    try:
        bounds.add_file()
        text = _read_bytes(path).decode("utf-8-sig")
    except OSError as error:
        problems.add(entry, f"cannot read {path}: {error.strerror}")
        return None
    except UnicodeDecodeError:
        problems.add(entry, f"{path} is not UTF-8 text")
        return None
    except TooLargeError as error:
        problems.add(entry, str(error))
        return None
    tree = read_text(text, Location(path), problems, bounds=bounds)
    if tree is not None and not isinstance(tree.value, dict):
        problems.add(tree, "a study file must be a mapping (key: value) that starts with 'version: 1'")
        return None
    return tree


def _read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: it cannot be read, or is no file (`check_regular`).
        TooLargeError: it is larger than a study may be.
    """
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise TooLargeError(
            f"{path} is larger than {MAX_BYTES // 1_000_000} MB, the most that a study may have; is it a study file?"
        )
    return content


def _apply_override(tree: Node, override: str, problems: Problems, bounds: Bounds) -> Node:
    key, equals, text = override.partition("=")
    key = key.strip()
    location = Location(override=key or override)
    if not equals or not key:
        problems.add(Node(None, location), "write KEY=VALUE, for example --set train.epochs=3")
        return tree
    if key == "extends":
        problems.add(Node(None, location), "extends can be written in the study file only")
        return tree
    if key.count(".") > MAX_LEVELS:
        problems.add(Node(None, Location(override=f"{key[:20]}...")), "there is no such key")
        return tree
    value = read_text(text, location, problems, key, bounds)
    return tree if value is None else _without_dropped(set_value(tree, key, value), tree)
