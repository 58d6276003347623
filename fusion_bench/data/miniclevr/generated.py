"""The base class of data sets that generate their files: completely or not at all, and only once."""

from __future__ import annotations

import json
import shutil
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar

from fusion_bench.data.files import image_sizes, manifest_of
from fusion_bench.data.miniclevr.scenes.attributes import VARYING
from fusion_bench.data.miniclevr.settings import SceneSettings
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import Counts, DataSet
from fusion_bench.samples.split import Split
from fusion_bench.storage import canonical, digest, lock, read_json, write_json

_DONE = "DONE"


class BuiltIn(DataSet):
    """A mixin for generated data sets, placed before the adapter that reads the files: ``class X(BuiltIn, Adapter)``.

    `prepare` generates the files next to ``root`` and moves them there when all are complete. So ``root`` either does
    not exist or is complete, even after an interruption. Of several processes, only one generates the files.
    """

    built_in: ClassVar[bool] = True

    root: Path
    texts_per_image: int
    """The number of texts about an image; an image with few objects may have fewer."""
    _scene_settings: SceneSettings

    @classmethod
    def canonical_settings(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings in which ``attributes`` is None where all vary; see `DataSet.canonical_settings`."""
        canonical = super().canonical_settings(settings)
        if set(canonical.get("attributes") or ()) == set(VARYING):
            canonical["attributes"] = None
        return canonical

    @abstractmethod
    def _generate(self, folder: Path, workers: int) -> None:
        """Write the files of ``_scene_settings`` into a folder that does not exist yet."""

    def prepare(self, workers: int = 1) -> None:
        """Generate the files unless they exist.

        Args:
            workers: number of processes; the files do not depend on it.

        Raises:
            DataError: ``root`` contains other files.
        """
        unfinished = self.root.with_name(f".{self.root.name}.part")
        with lock(self.root.with_name(f".{self.root.name}.lock"), wait=True):
            if self._exists():
                return
            if unfinished.exists():
                shutil.rmtree(unfinished)
            self._generate(unfinished, workers)
            write_json(unfinished / _DONE, self._settings())
            if self.root.exists():
                self.root.rmdir()
            unfinished.rename(self.root)

    def known_counts(self, split: str) -> Counts:
        """Return how many images the settings ask for, and the largest number of samples."""
        images = dict(self._scene_settings.images).get(split)
        return Counts(None if images is None else images * self.texts_per_image, images)

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`."""
        self._require_files()
        return super().split(name)  # type: ignore[safe-super]  # the adapter's

    def contents(self) -> Mapping[str, str]:
        """Return the digests of the annotation files and of the names of the images; see `DataSet.contents`.

        The sizes of the images are those of this machine's PNG encoder, and the code that draws them is part of a
        cell's provenance. So cells that were trained on another machine are not stale here.
        """
        self._require_files()
        return {
            name: digest(list(image_sizes(self.root / name)), length=64) if name.endswith("/") else sha256
            for name, sha256 in super().contents().items()
        }

    def manifest(self) -> str:
        """Return the SHA-256 of the annotation files and of the names and sizes of the images."""
        self._require_files()
        return manifest_of(super().contents())

    def _settings(self) -> dict[str, Any]:
        """Return the settings as JSON types; a default of the settings' class is left out, as before it existed."""
        defaults = {item.name: item.default for item in fields(self._scene_settings)}
        written = {
            name: value for name, value in asdict(self._scene_settings).items() if value != defaults[name]
        }
        settings: dict[str, Any] = json.loads(canonical({"version": self.version, **written}))
        return settings

    def _exists(self) -> bool:
        if not self.root.exists() or (self.root.is_dir() and not any(self.root.iterdir())):
            return False
        if not (self.root / _DONE).exists():
            raise DataError(
                f"{self.root} contains files that {self.name} did not generate; choose another folder"
            )
        if read_json(self.root / _DONE) != self._settings():
            raise DataError(
                f"{self.root} contains a {self.name} with other settings (see {self.root / _DONE}); choose another "
                "folder for these settings, or remove that one"
            )
        return True

    def _require_files(self) -> None:
        if not self._exists():
            raise DataError(
                f"the data set {self.name} does not exist in {self.root} yet; call prepare() first"
            )
