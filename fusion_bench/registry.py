"""A small typed registry: a name stands for ``package.module:Class``, which is imported only when asked for.

Names come from the harness itself and from catalogues (a mapping from name to ``package.module:Class``) that packages
offer through an entry-point group. A class can also be asked for by ``package.module:Class`` or by the path of
a file.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from fusion_bench.errors import FusionBenchError

T = TypeVar("T")


class UnknownNameError(FusionBenchError):
    """A name that is not registered; the message holds the nearest registered name."""


class CollisionError(FusionBenchError):
    """Two origins claim the same name."""


@dataclass(frozen=True)
class Target:
    """A class that a cell can import on any machine.

    Attributes:
        reference: ``package.module:Class``; for a file given by path, ``file:Class``.
        source: the text of that file, which travels with the cell; None for an importable module.
        name: the registered name that the class was asked for by; None for one asked for by its path.
    """

    reference: str
    source: str | None = None
    name: str | None = None

    @property
    def asked(self) -> str:
        """The registered name, or the reference of a class that has none."""
        return self.name or self.reference

    @property
    def identity(self) -> dict[str, str]:
        """The part of a cell's id that stands for the class; it does not depend on where a registered class lies.

        A registered class is its name, a file given by path its text and class, any other class its path.
        """
        if self.source is not None:
            return {"reference": self.reference, "source": self.source}
        return {"reference": self.reference} if self.name is None else {"name": self.name}

    def load(self) -> type[Any]:
        """Import the class.

        Raises:
            FusionBenchError: the module or the class does not exist.
        """
        module_name, _, class_name = self.reference.partition(":")
        try:
            module = importlib.import_module(module_name) if self.source is None else _run(self.source)
        except ModuleNotFoundError as error:
            raise FusionBenchError(
                f"cannot import {self.reference!r}: there is no module {error.name!r}"
            ) from error
        try:
            found = getattr(module, class_name)
        except AttributeError as error:
            raise FusionBenchError(f"{module_name} has no class {class_name!r}") from error
        if not isinstance(found, type):
            raise FusionBenchError(f"{self.reference} is not a class")
        return found


@dataclass(frozen=True)
class Entry:
    """A registered name: where it leads and who offered it."""

    name: str
    target: Target
    origin: str


class Registry(Generic[T]):
    """Names of one kind of component (``kind`` names it in messages)."""

    def __init__(self, kind: str, group: str | None = None, builtin: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._group = group
        self._builtin = dict(builtin or {})
        self._entries: dict[str, Entry] | None = None

    def entries(self) -> Mapping[str, Entry]:
        """Every registered name.

        Raises:
            CollisionError: two origins offer the same name.
        """
        if self._entries is None:
            collected: dict[str, Entry] = {}
            for origin, catalogue in self._catalogues():
                for name, reference in catalogue.items():
                    if name in collected:
                        raise CollisionError(
                            f"two packages register the {self.kind} {name!r}: "
                            f"{collected[name].origin} and {origin}; uninstall or rename one"
                        )
                    collected[name] = Entry(name, Target(reference, name=name), origin)
            self._entries = dict(sorted(collected.items()))
        return self._entries

    def resolve(self, name: str, folder: Path | None = None) -> Target:
        """Turn a name, ``package.module:Class`` or ``path/to/file.py[:Class]`` into a target.

        Args:
            name: what the user wrote.
            folder: where relative paths start (the study file's folder).

        Raises:
            UnknownNameError: nothing of that name; the message holds the nearest known one.
        """
        path, _, class_name = name.partition(":")
        if path.endswith(".py"):
            return _from_file((folder or Path()) / path, class_name)
        if ":" in name:
            return Target(name)
        entries = self.entries()
        if name in entries:
            return entries[name].target
        raise UnknownNameError(f"unknown {self.kind} {name!r}{did_you_mean(name, entries)}")

    def load(self, name: str, folder: Path | None = None) -> type[T]:
        """Import the class behind `resolve`."""
        return self.resolve(name, folder).load()

    def _catalogues(self) -> Iterable[tuple[str, Mapping[str, str]]]:
        if self._builtin:
            yield "fusion_bench", self._builtin
        if self._group:
            for point in sorted(entry_points(group=self._group), key=lambda point: point.name):
                yield _origin(point), point.load()


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)``, or the list of what is known when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f" (did you mean {near[0]!r}?)"
    return f" (known: {', '.join(names)})" if names else ""


def _origin(point: EntryPoint) -> str:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    return f"{distribution} ({point.value})"


def _from_file(path: Path, class_name: str) -> Target:
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FusionBenchError(f"cannot read the module file {path}: {error.strerror}") from error
    try:
        tree = ast.parse(source, filename=str(path))
    except SyntaxError as error:
        raise FusionBenchError(f"{path}, line {error.lineno}: {error.msg}") from error
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if not class_name:
        public = [name for name in classes if not name.startswith("_")]
        if len(public) != 1:
            raise FusionBenchError(
                f"{path} defines {len(public)} public classes; write which one: {path.name}:ClassName"
            )
        class_name = public[0]
    if class_name not in classes:
        raise FusionBenchError(f"{path} has no class {class_name!r}{did_you_mean(class_name, classes)}")
    return Target(f"file:{class_name}", source)


def _run(source: str) -> Any:
    """Execute the copied text of a module file once a process, under a name made from its content."""
    name = f"fusion_bench_file_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_loader(name, loader=None)
        assert spec is not None  # noqa: S101 - a spec is always made for a plain name
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            # The user named this file in the study; running it is what they asked for.
            exec(compile(source, f"<{name}>", "exec"), module.__dict__)  # noqa: S102
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
