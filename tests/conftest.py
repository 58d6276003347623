"""Shared fixtures: the data packs, unpacked once for all test processes."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from filelock import FileLock


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
            with FileLock(self._folder / f"{name}.lock"):
                if not unpacked.exists():  # another process may have done it meanwhile
                    self._unpack(archive)
        return unpacked

    def _unpack(self, archive: Path) -> None:
        """Unpack under another name, then rename: no process sees half a pack."""
        part = self._folder / f"{archive.name}.part"
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")
        for inside in part.iterdir():
            inside.rename(self._folder / inside.name)


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Packs:
    """``packs / "nlvr"`` is the unpacked pack, not to be changed.

    The archives are looked for in FUSION_BENCH_PACKS, then in ../shared/data.
    """
    beside = Path(__file__).parents[2] / "shared" / "data"
    archives = Path(os.environ.get("FUSION_BENCH_PACKS", beside))
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the folder of all processes of this run
    folder = base / "packs"
    folder.mkdir(exist_ok=True)
    return Packs(archives, folder)
