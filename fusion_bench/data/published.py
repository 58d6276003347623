"""The base class of adapters whose data are published as annotation files and folders of images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from fusion_bench.data.files import content_digests, image_sizes, manifest_of, require_all
from fusion_bench.samples.dataset import DataSet


class PublishedDataSet(DataSet):
    """A data set in annotation files and image folders under ``root``, which a subclass names.

    The annotations count by content, the images by name and size.
    """

    root: Path

    @abstractmethod
    def annotation_files(self) -> tuple[Path, ...]:
        """Return the annotation files of every split."""

    @abstractmethod
    def image_folders(self) -> tuple[Path, ...]:
        """Return the image folders of every split."""

    def prepare(self, workers: int = 1) -> None:
        """Check that the files and folders exist and that the folders can be read; see `DataSet.prepare`."""
        del workers
        require_all(self.files(), self.homepage)
        for folder in self.image_folders():
            image_sizes(folder)

    def manifest(self) -> str:
        """Return the SHA-256 of the annotation files and of the names and sizes of the images."""
        return manifest_of(self.contents())

    def contents(self) -> Mapping[str, str]:
        """Return the digests of the annotation files and image folders; see `DataSet.contents`."""
        return content_digests(self.root, self.annotation_files(), self.image_folders(), self.cache)

    def files(self) -> tuple[Path, ...]:
        """Return the annotation files and image folders of every split; see `DataSet.files`."""
        return (*self.annotation_files(), *self.image_folders())
