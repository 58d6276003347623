"""A small typed registry: a name stands for ``package.module:Class``, which is imported only when asked for.

Names come from the harness itself and from catalogues (a mapping from name to ``package.module:Class``) that packages
offer through an entry-point group. A class can also be asked for by ``package.module:Class`` or by the path of
a file.
"""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from fusion_bench.errors import FusionBenchError
from fusion_bench.foreign import importing, name_of_text, read_module_file, run_text

T = TypeVar("T")
_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


class UnknownNameError(FusionBenchError):
    """A name that is not registered; the message holds the nearest registered name."""


class BrokenOfferError(FusionBenchError):
    """The component that a package offers under a name cannot be used; the message says why."""


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

    def load(self, file: Path | None = None) -> type[Any]:
        """Import the class.

        Args:
            file: the file that the text was read from, for messages; None where it is not known.

        Raises:
            FusionBenchError: the module or the class does not exist, or the code of the module raises while it is
                imported; the message holds the file and the line.
        """
        module_name, _, class_name = self.reference.partition(":")
        if self.source is None:
            shown, name = module_name, module_name
        else:
            shown, name = str(file or f"the module file of {class_name}"), name_of_text(self.source)
        found = getattr(sys.modules.get(name), "__dict__", {}).get(class_name)
        if found is None:
            folder = None if file is None else file.parent
            with importing(name, shown, f"cannot import {self.reference!r}", folder):
                module = importlib.import_module(name) if self.source is None else run_text(name, self.source)
                found = getattr(module, class_name, None)
        if found is None:
            raise FusionBenchError(f"{shown} has no class {class_name!r}")
        if not isinstance(found, type):
            raise FusionBenchError(f"{shown}:{class_name} is not a class")
        return found


@dataclass(frozen=True)
class Entry:
    """A registered name: where it leads and who offered it."""

    name: str
    target: Target
    origin: str


@dataclass(frozen=True)
class BrokenOffer:
    """A name, or all names of a package, that cannot be used.

    Attributes:
        name: the registered name; of a whole catalogue, the name of its entry point.
        origin: who offered it.
        reason: why it cannot be used.
    """

    name: str
    origin: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} of {self.origin}: {self.reason}"


class Registry(Generic[T]):
    """Names of one kind of component (``kind`` names it in messages)."""

    def __init__(self, kind: str, group: str | None = None, builtin: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._group = group
        self._builtin = dict(builtin or {})
        self._offers: _Offers | None = None

    def entries(self) -> Mapping[str, Entry]:
        """Return every registered name, without those that `broken` tells of."""
        return self._collected().entries

    def broken(self) -> tuple[BrokenOffer, ...]:
        """Return what is offered and cannot be used: an unreadable catalogue, a name that two packages claim."""
        return tuple(self._collected().broken)

    def resolve(self, name: str, folder: Path | None = None) -> Target:
        """Turn a name, ``package.module:Class`` or ``path/to/file.py[:Class]`` into a target.

        Args:
            name: what the user wrote.
            folder: where relative paths start (the study file's folder).

        Raises:
            UnknownNameError: nothing of that name; the message holds the nearest known one.
            BrokenOfferError: what a package offers under this name cannot be used.
            FusionBenchError: the file cannot be read, is not Python, or has no such class.
        """
        path, class_name = _file_and_class(name)
        if path is not None:
            return _from_file((folder or Path()) / path, class_name)
        if ":" in name:
            if not _REFERENCE.fullmatch(name):
                raise FusionBenchError(f"{name!r} names no class; write package.module:Class")
            return Target(name)
        entries, broken = self.entries(), self.broken()
        if name in entries:
            return entries[name].target
        for offer in broken:
            if offer.name == name:
                raise BrokenOfferError(f"the {self.kind} {offer}")
        unread = "".join(f"; the {self.kind} {offer}" for offer in broken)
        raise UnknownNameError(f"unknown {self.kind} {name!r}{did_you_mean(name, entries)}{unread}")

    def find(self, name: str, folder: Path | None = None) -> tuple[Target, type[T]]:
        """Return a target and its class, imported; a file that fails is called by its path.

        Raises:
            FusionBenchError: see `resolve` and `Target.load`.
        """
        path, _ = _file_and_class(name)
        target = self.resolve(name, folder)
        return target, target.load(None if path is None else (folder or Path()) / path)

    def load(self, name: str, folder: Path | None = None) -> type[T]:
        """Return the class that `find` imports."""
        return self.find(name, folder)[1]

    def _collected(self) -> _Offers:
        if self._offers is None:
            offers = _Offers({}, [])
            for name, reference in self._builtin.items():
                offers.add(self.kind, name, reference, "fusion_bench")
            for point in sorted(_points(self._group), key=lambda point: point.name):
                try:
                    catalogue = _read(point)
                except FusionBenchError as error:
                    offers.broken.append(BrokenOffer(point.name, origin_of(point), str(error)))
                    continue
                for offered, target in catalogue.items():
                    offers.add(self.kind, offered, target, origin_of(point))
            self._offers = _Offers(dict(sorted(offers.entries.items())), offers.broken)
        return self._offers


@dataclass(frozen=True)
class _Offers:
    """The components that the harness and all packages offer."""

    entries: dict[str, Entry]
    broken: list[BrokenOffer]

    def add(self, kind: str, name: str, reference: object, origin: str) -> None:
        """Take a name, unless its value is no reference or another package claims the name as well."""
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            reason = f"its value is {reference!r}; the package must write 'package.module:Class'"
            self.broken.append(BrokenOffer(name, origin, reason))
            return
        if name in self.entries:
            # Neither is taken: a study must not mean another class after an installation.
            reason = f"two packages register this {kind}; uninstall or rename one"
            self.broken.append(BrokenOffer(name, f"{self.entries.pop(name).origin} and {origin}", reason))
        elif all(offer.name != name for offer in self.broken):
            self.entries[name] = Entry(name, Target(reference, name=name), origin)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)``, or the list of what is known when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f" (did you mean {near[0]!r}?)"
    return f" (known: {', '.join(names)})" if names else ""


def origin_of(point: EntryPoint) -> str:
    """Return the package of an entry point with its version, and what it points at."""
    return f"{point.dist.name} {point.dist.version} ({point.value})" if point.dist else point.value


def _points(group: str | None) -> Iterable[EntryPoint]:
    return () if group is None else entry_points(group=group)


def _read(point: EntryPoint) -> dict[str, object]:
    """Return the catalogue that an entry point offers.

    Raises:
        FusionBenchError: its package cannot be imported, or it is no mapping from names.
    """
    module = point.value.partition(":")[0]
    with importing(module, module, f"cannot import {point.value!r}"):
        catalogue = point.load()
        read = dict(catalogue) if isinstance(catalogue, Mapping) else None
    if read is None or not all(isinstance(name, str) for name in read):
        raise FusionBenchError(f"{point.value} is no mapping from names to 'package.module:Class'")
    return read


def _file_and_class(name: str) -> tuple[str | None, str]:
    """Return the path in ``path/to/file.py[:Class]`` and the class, which may be empty; None for any other name."""
    path, _, class_name = name.partition(":")
    return (path if path.endswith(".py") else None), class_name


def _from_file(path: Path, class_name: str) -> Target:
    source, classes = read_module_file(path)
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
