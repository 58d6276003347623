"""The Python package that carries the published files of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fusion_bench.samples.installed import find_installed


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

        The folder may be missing in a damaged installation.
        """
        found = find_installed(self.distribution)
        return None if found is None else Path(str(found.locate_file(self.folder)))
