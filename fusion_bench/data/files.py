"""Published files on disk: folders of images listed once, and the manifest that stands for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from fusion_bench.errors import DataError
from fusion_bench.storage import digest, file_digest


def image_sizes(folder: Path) -> dict[str, int]:
    """Bytes of every PNG and JPEG under ``folder``, by path relative to it, sorted; one walk, no file is opened.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it should hold the images as they were published")
    return dict(sorted(_walk(str(folder), "")))


def _walk(folder: str, prefix: str) -> Iterable[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path, f"{prefix}{entry.name}/")
            elif entry.name.endswith((".png", ".jpg")):
                yield prefix + entry.name, entry.stat().st_size


def named_sizes(folder: Path, names: Iterable[str], published: str) -> dict[str, int]:
    """Bytes of the named files of a folder, by name, sorted.

    Raises:
        DataError: some are missing; says how many and which is the first.
    """
    sizes: dict[str, int] = {}
    missing: list[str] = []
    for name in sorted(set(names)):
        try:
            sizes[name] = (folder / name).stat().st_size
        except FileNotFoundError:
            missing.append(name)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(sizes) + len(missing)} images are not in {folder}, the first is "
            f"{missing[0]}; get them from {published}"
        )
    return sizes


def manifest(root: Path, annotations: Iterable[Path], images: Iterable[Path]) -> str:
    """SHA-256 over annotation files by content and image folders by file name and size.

    Args:
        root: paths are taken relative to it, so that moving a data set changes nothing.
        annotations: files.
        images: folders.

    Raises:
        DataError: a file or folder is missing.
    """
    content: dict[str, str | Mapping[str, int]] = {}
    for path in annotations:
        require(path)
        content[path.relative_to(root).as_posix()] = file_digest(path)
    for folder in images:
        content[folder.relative_to(root).as_posix()] = image_sizes(folder)
    return digest(content, length=64)


def require(path: Path, published: str = "") -> None:
    """Refuse to go on without a file.

    Args:
        path: the file.
        published: where it can be had.

    Raises:
        DataError: it does not exist.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist" + (f"; it is published at {published}" if published else ""))
