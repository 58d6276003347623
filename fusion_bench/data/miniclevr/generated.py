"""Data sets that make their own files: whole or not at all, and once, however many processes ask."""

from __future__ import annotations

import json
import shutil
from abc import abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from fusion_bench.data.miniclevr.settings import SceneSettings
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.split import Split
from fusion_bench.storage import canonical, lock, read_json, write_json

_DONE = "DONE"


class BuiltIn(DataSet):
    """Stands before the adapter that reads the files: ``class Made(BuiltIn, Adapter)``.

    `prepare` makes the files beside ``root`` and moves them there when all are whole, so that ``root``
    either does not exist or is complete, however a making ends. Two processes make it once.
    """

    built_in: ClassVar[bool] = True

    root: Path
    _edition: SceneSettings

    @abstractmethod
    def _make(self, folder: Path, workers: int) -> None:
        """Write the files of ``_edition`` into a folder that does not exist yet."""

    def prepare(self, workers: int = 1) -> None:
        """Make the files unless they stand already.

        Args:
            workers: processes; they never change what is made.

        Raises:
            DataError: ``root`` holds something else.
        """
        unfinished = self.root.with_name(f".{self.root.name}.part")
        with lock(self.root.with_name(f".{self.root.name}.lock"), wait=True):
            if self._is_made():
                return
            if unfinished.exists():
                shutil.rmtree(unfinished)
            self._make(unfinished, workers)
            write_json(unfinished / _DONE, self._settings())
            if self.root.exists():
                self.root.rmdir()
            unfinished.rename(self.root)

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`."""
        self._must_be_made()
        return super().split(name)  # type: ignore[safe-super]  # the adapter's

    def manifest(self) -> str:
        """SHA-256 over the annotation files and the names and sizes of the images."""
        self._must_be_made()
        return super().manifest()  # type: ignore[safe-super]  # the adapter's

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads(canonical({"version": self.version, **asdict(self._edition)}))
        return settings

    def _is_made(self) -> bool:
        if not self.root.exists() or (self.root.is_dir() and not any(self.root.iterdir())):
            return False
        if not (self.root / _DONE).exists():
            raise DataError(
                f"{self.root} holds files that {self.name} did not make; give it a folder of its own"
            )
        if read_json(self.root / _DONE) != self._settings():
            raise DataError(
                f"{self.root} holds a {self.name} of other settings (see {self.root / _DONE}); give these settings "
                f"a folder of their own, or remove that one"
            )
        return True

    def _must_be_made(self) -> None:
        if not self._is_made():
            raise DataError(f"the data set {self.name} is not made yet in {self.root}; call prepare() first")
