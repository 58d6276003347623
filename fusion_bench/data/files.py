"""Published files on disk: checks that they exist, sizes of images, digests and the manifest."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from stat import S_ISDIR

from fusion_bench.errors import DataError, FusionBenchError
from fusion_bench.storage import digest, file_digest, read_json, write_json

_CLOCK_TOLERANCE = 2 * 10**9
_NAMED = 5
"""Number of missing files that an error names."""


def image_sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of every PNG and JPEG under ``folder`` by relative path, sorted; no file is opened.

    Links are followed, also out of the folder. A link that leads nowhere or back to a folder around it counts as
    absent. Bytes of a name that are not UTF-8 are written as escapes, because no published record can name the file.

    Raises:
        DataError: the folder does not exist, or a folder in it cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it must contain the published images")
    try:
        found = dict(sorted(_walk(str(folder), "", ())))
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    return found


def _walk(folder: str, prefix: str, around: tuple[tuple[int, int], ...]) -> Iterable[tuple[str, int]]:
    """Yield name and size of the images under ``folder``, which lies in the folders ``around`` (device and inode)."""
    stat = Path(folder).stat()
    around = (*around, (stat.st_dev, stat.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                stat = entry.stat()
            except OSError:
                if entry.is_symlink():
                    continue
                raise
            name = entry.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
            if S_ISDIR(stat.st_mode):
                if (stat.st_dev, stat.st_ino) not in around:
                    yield from _walk(entry.path, f"{prefix}{name}/", around)
            elif name.endswith((".png", ".jpg")):
                yield prefix + name, stat.st_size


def named_sizes(folder: Path, names: Iterable[str], published: str) -> dict[str, int]:
    """Return the size in bytes of the named files of a folder by name, sorted.

    Raises:
        DataError: some files are missing; the message gives their number and the first name.
    """
    sizes: dict[str, int] = {}
    missing: list[str] = []
    for name in sorted(set(names)):
        try:
            sizes[name] = (folder / name).stat().st_size
        except (OSError, ValueError):  # ValueError: no file can have such a name
            missing.append(name)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(sizes) + len(missing)} images are missing in {folder}; the first is "
            f"{missing[0]}; get them from {published}"
        )
    return sizes


def read_utf8(path: Path) -> str:
    """Return the text of a published UTF-8 file, without a byte-order mark.

    Raises:
        DataError: the file cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def known_digest(path: Path, cache: Path | None) -> str:
    """Return the SHA-256 of a file's bytes, stored in ``cache``.

    A file with the same path, size and times (``mtime_ns``, and ``ctime_ns``, which programs cannot set) as at its
    last reading is assumed unchanged; any other file is read again. The digest of a file that changed less than two
    seconds before it was read is not stored, because the clock of the file system may be too coarse to show the next
    change.

    Raises:
        DataError: the file does not exist.
    """
    if cache is None:
        return file_digest(path)
    require(path)
    stat = path.stat()
    state = {
        "path": str(path.resolve()),
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
    }
    record = cache / "digests" / f"{digest(state['path'])}.json"
    try:
        stored = read_json(record)
        if {key: stored[key] for key in state} == state:
            return str(stored["sha256"])
    except (FusionBenchError, KeyError, TypeError):
        with contextlib.suppress(OSError):
            record.unlink(missing_ok=True)
    read = time.time_ns()
    sha256 = file_digest(path)
    if read - max(stat.st_mtime_ns, stat.st_ctime_ns) > _CLOCK_TOLERANCE:
        with contextlib.suppress(
            OSError
        ):  # a runs folder that may only be read: the file is read again next time
            write_json(record, {**state, "sha256": sha256})
    return sha256


def content_digests(
    root: Path, annotations: Iterable[Path], images: Iterable[Path], cache: Path | None = None
) -> dict[str, str]:
    """Return a digest of each annotation file (its content) and image folder (names and sizes of its images).

    Args:
        root: folder of the data set; the names are paths relative to it, so that a moved data set has the same
            digests. The name of a folder ends with a slash.
        annotations: annotation files.
        images: image folders.
        cache: folder in which digests of files are stored; None reads every annotation file.

    Raises:
        DataError: a file or folder is missing.
    """
    content: dict[str, str] = {}
    for path in annotations:
        require(path)
        content[path.relative_to(root).as_posix()] = known_digest(path, cache)
    for folder in images:
        content[f"{folder.relative_to(root).as_posix()}/"] = digest(image_sizes(folder), length=64)
    return content


def manifest_of(contents: Mapping[str, str]) -> str:
    """Return the manifest of the digests that `DataSet.contents` returns: 64 hexadecimal digits."""
    return contents[""] if set(contents) == {""} else digest(dict(contents), length=64)


def require_all(paths: Sequence[Path], published: str) -> None:
    """Check that files and folders exist; of several missing ones, the error names the first five.

    Raises:
        DataError: some do not exist.
    """
    missing = [path for path in paths if not path.exists()]
    if len(missing) == 1:
        raise DataError(_absence(missing[0], published))
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DataError(
            f"{len(missing)} files or folders do not exist: {', '.join(map(str, missing[:_NAMED]))}{more}; they are "
            f"published at {published}"
        )


def require(path: Path, published: str = "") -> None:
    """Check that a file exists.

    Args:
        path: the file.
        published: the address where it is published, for the error message.

    Raises:
        DataError: the file does not exist.
    """
    if not path.is_file():
        raise DataError(_absence(path, published))


def _absence(path: Path, published: str) -> str:
    if path.is_symlink() and not path.exists():
        return f"{path} is a link to {path.readlink()}, which does not exist"
    return f"{path} does not exist" + (f"; it is published at {published}" if published else "")
