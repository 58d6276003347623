"""Shared fixtures: the data packs, unpacked once a session."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest


class Packs:
    """Data packs by name, unpacked when first asked for; a test skips, with the reason, where one is absent."""

    def __init__(self, archives: Path, folder: Path) -> None:
        self._archives, self._folder = archives, folder

    def __truediv__(self, name: str) -> Path:
        unpacked = self._folder / name
        if not unpacked.exists():
            stem = {"nlvr": "nlvr_v1.tar.xz"}.get(name, f"{name}.tar")
            archive = self._archives / stem
            if not archive.exists():
                reason = f"the data pack {stem} is not in {self._archives}; set FUSION_BENCH_PACKS"
                # Where packs are promised, a test that quietly skips would be a hole.
                (pytest.fail if os.environ.get("FUSION_BENCH_PACKS_REQUIRED") else pytest.skip)(reason)
            with tarfile.open(archive) as tar:
                tar.extractall(self._folder, filter="data")
        return unpacked


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packs]:
    """``packs / "nlvr"`` is the unpacked pack; looks in FUSION_BENCH_PACKS, then in ../shared/data."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    archives = Path(os.environ.get("FUSION_BENCH_PACKS", beside))
    yield Packs(archives, tmp_path_factory.mktemp("packs"))
