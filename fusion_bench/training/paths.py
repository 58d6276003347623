"""Paths on this machine: runs, caches, data sets and weight files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.samples.dataset import DataSet
from fusion_bench.storage import digest
from fusion_bench.training.config import DataConfig


@dataclass(frozen=True)
class RunPaths:
    """Where things lie on this machine; never part of a cell's identity.

    Attributes:
        runs: the folder with cells, studies and caches.
        roots: folder of each data set that is not built in, by name.
        weight_files: backbone weight files, and what text encoders read, by SHA-256.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        workers: processes that may make and decode data.
    """

    runs: Path
    roots: Mapping[str, Path]
    weight_files: Mapping[str, Path]
    device: str = "cpu"
    workers: int = 1

    @property
    def cache(self) -> Path:
        """Everything that can be made again."""
        return self.runs / "cache"

    def root(self, config: DataConfig) -> Path:
        """The folder of a data set.

        Raises:
            FusionBenchError: nobody said where it is.
        """
        adapter: type[DataSet] = config.adapter.target.load()
        if adapter.built_in:
            return (
                self.cache
                / "data"
                / f"{config.name}-{digest([config.version, dict(config.adapter.settings)])}"
            )
        variable = f"FUSION_BENCH_DATA_{config.name.upper().replace('+', '_PLUS')}"
        root = self.roots.get(config.name) or os.environ.get(variable)
        if root is None:
            raise FusionBenchError(
                f"where is the data set {config.name!r}? Write data.root in the study, pass "
                f"--data {config.name}=FOLDER, or set {variable} (published at {adapter.homepage})"
            )
        return Path(root)
