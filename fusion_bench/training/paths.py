"""Paths on this machine: runs, caches, data sets and weight files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.samples.dataset import DataSet
from fusion_bench.storage import digest
from fusion_bench.training.config import DataConfig


@dataclass(frozen=True)
class RunPaths:
    """The paths and the device of a run on this machine; they are never part of a cell's identity.

    Attributes:
        runs: the folder with cells, studies and caches.
        roots: the folder of each data set that is not built in, by name.
        weight_files: the files of backbone weights and of text encoders, by SHA-256.
        device: torch's name of the device: ``cpu``, ``cuda`` or ``cuda:1``.
        workers: number of processes that may generate and decode data.
        notify: is told how far the preparation of data, weights and maps is.
    """

    runs: Path
    roots: Mapping[str, Path]
    weight_files: Mapping[str, Path]
    device: str = "cpu"
    workers: int = 1
    notify: Notify = field(default=say_nothing, compare=False, repr=False)

    @property
    def cache(self) -> Path:
        """The folder of files that can be generated again."""
        return self.runs / "cache"

    def root(self, config: DataConfig) -> Path:
        """Return the folder of a data set; a built-in one lies in the cache.

        Raises:
            FusionBenchError: the folder is not known.
        """
        adapter: type[DataSet] = config.adapter.target.load()
        if adapter.built_in:
            return (
                self.cache
                / "data"
                / f"{config.name}-{digest([config.version, dict(config.adapter.settings)])}"
            )
        root = self.roots.get(config.name) or default_root(config.name, adapter)
        if root is None:
            ways = ("write data.root in the study", f"pass --data {config.name}=FOLDER")
            raise FusionBenchError(no_root(config.name, adapter, ways))
        return root


def default_root(name: str, adapter: type[DataSet]) -> Path | None:
    """Return the folder of a data set that no study and no command names; None if it is not known.

    It is the folder in the environment, else the one in an installed package that carries the files.
    """
    if root := os.environ.get(root_variable(name)):
        return Path(root)
    return None if adapter.package is None else adapter.package.find()


def no_root(name: str, adapter: type[DataSet], ways: Sequence[str]) -> str:
    """Return the sentence that the folder of a data set is not known; ``ways`` are the ways to name it here."""
    package = adapter.package
    ways = ([] if package is None else [f"install its files with {package.command}"]) + [*ways]
    listed = ", ".join(ways) + ("," if len(ways) > 1 else "")
    return (
        f"the folder of the data set {name!r} is not known; {listed} or set {root_variable(name)} (the files are "
        f"published at {adapter.homepage})"
    )


def root_variable(name: str) -> str:
    """Return the environment variable that may hold the folder of a data set."""
    return f"FUSION_BENCH_DATA_{name.upper().replace('+', '_PLUS')}"


def parse_named_paths(pairs: list[str]) -> dict[str, Path]:
    """Return paths by name, read from ``NAME=PATH`` pairs.

    Raises:
        FusionBenchError: a pair does not have this form.
    """
    paths = {}
    for pair in pairs:
        name, _, path = pair.partition("=")
        if not name or not path:
            raise FusionBenchError(f"{pair!r} names no path; write NAME=PATH, for example vqa2=/data/vqa2")
        paths[name] = Path(path)
    return paths
