"""Published files on disk: folders of images listed once, and the manifest that stands for them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from fusion_bench.errors import DataError, FusionBenchError
from fusion_bench.storage import digest, file_digest, read_json, write_json

_SETTLED = 2 * 10**9


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


def known_digest(path: Path, cache: Path | None) -> str:
    """SHA-256 of a file's bytes, remembered in ``cache``.

    A file of the same place, size and time of change (``mtime_ns``) as when it was last read is taken to hold
    the same; any other is read again. One that had changed less than two seconds before it was read is not
    remembered: a file system's clock may be too coarse to show the next change.

    Raises:
        DataError: there is no such file.
    """
    if cache is None:
        return file_digest(path)
    require(path)
    stat = path.stat()
    state = {"path": str(path.resolve()), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    note = cache / "digests" / f"{digest(state['path'])}.json"
    try:
        noted = read_json(note)
        if {key: noted[key] for key in state} == state:
            return str(noted["sha256"])
    except (FusionBenchError, KeyError, TypeError):
        note.unlink(missing_ok=True)
    read = time.time_ns()
    sha256 = file_digest(path)
    if read - stat.st_mtime_ns > _SETTLED:
        write_json(note, {**state, "sha256": sha256})
    return sha256


def manifest(
    root: Path, annotations: Iterable[Path], images: Iterable[Path], cache: Path | None = None
) -> str:
    """SHA-256 over annotation files by content and image folders by file name and size.

    Args:
        root: paths are taken relative to it, so that moving a data set changes nothing.
        annotations: files.
        images: folders.
        cache: where digests of files are remembered; None reads every annotation file.

    Raises:
        DataError: a file or folder is missing.
    """
    content: dict[str, str | Mapping[str, int]] = {}
    for path in annotations:
        require(path)
        content[path.relative_to(root).as_posix()] = known_digest(path, cache)
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
