"""Files that travel between hosts with their digests, so that what arrives is what was sent.

This file imports neither torch nor pandas: see `fusion_bench.cells.executors.program`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fusion_bench.errors import FusionBenchError
from fusion_bench.storage import file_digest, replacing


@dataclass(frozen=True)
class SentFile:
    """The content of a file and its SHA-256 where it was read."""

    content: bytes
    sha256: str


Parcel: TypeAlias = Mapping[str, SentFile]
"""Files by their path below a runs folder, in the order in which they are to be written."""


def packed(runs: Path, names: Iterable[str]) -> Parcel:
    """Return those of the files that exist."""
    return {
        name: SentFile(content, hashlib.sha256(content).hexdigest())
        for name in names
        if (runs / name).is_file()
        for content in ((runs / name).read_bytes(),)
    }


def unpack(parcel: Parcel, runs: Path) -> None:
    """Write the files below a runs folder, each whole or not at all.

    Raises:
        FusionBenchError: the content of a file is not what was sent, or its path leads out of the folder.
    """
    for name, file in parcel.items():
        if hashlib.sha256(file.content).hexdigest() != file.sha256:
            raise FusionBenchError(
                f"{name} arrived damaged: its SHA-256 is not the one that it was sent with"
            )
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise FusionBenchError(f"{name} leads out of the folder {runs}")
        path = runs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(file.content)


def differing(runs: Path, digests: Mapping[str, str]) -> list[str]:
    """Return the names of the files that are not in a runs folder, or have another content there."""
    return [
        name
        for name, sha256 in digests.items()
        if not (runs / name).is_file() or file_digest(runs / name) != sha256
    ]
