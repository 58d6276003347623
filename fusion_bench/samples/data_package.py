"""The Python package that carries the published files of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


@dataclass(frozen=True)
class DataPackage:
    """A distribution of the Python Package Index that holds a data set's published files.

    Attributes:
        distribution: name of the distribution.
        folder: folder of the files, relative to the place where packages are installed.
        command: the command that installs it.
    """

    distribution: str
    folder: str
    command: str

    def find(self) -> Path | None:
        """Return the folder of the files; None if the distribution is not installed.

        Its metadata are read; none of its code is imported. The folder may be missing in a damaged installation.
        """
        try:
            return Path(str(distribution(self.distribution).locate_file(self.folder)))
        except PackageNotFoundError:
            return None
