"""Paths on this machine: runs, caches, data sets and weight files."""

from __future__ import annotations

import os
from collections.abc import Mapping
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
        variable = root_variable(config.name)
        root = self.roots.get(config.name) or os.environ.get(variable)
        if root is None:
            raise FusionBenchError(
                f"the folder of the data set {config.name!r} is not known; write data.root in the study, pass "
                f"--data {config.name}=FOLDER, or set {variable} (the files are published at {adapter.homepage})"
            )
        return Path(root)


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
            raise FusionBenchError(f"{pair!r} should read NAME=PATH")
        paths[name] = Path(path)
    return paths
