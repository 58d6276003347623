"""Decoding of image files into one array on disk, which every process maps into memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from fusion_bench.data.decoding import DECODING, open_image, read_bytes
from fusion_bench.errors import DataError
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.samples.geometry import Resizing
from fusion_bench.storage import cached_array, cached_file, digest, read_json, write_json

S = TypeVar("S")
T = TypeVar("T")

GREY = 127
"""The value of the pixels around a letterboxed image."""
_DECODER = {"pillow": PIL.__version__, "decoding": DECODING}
"""The versions that decoded pixels depend on, beside the files."""
_CHUNK = 64
"""Files per task of a thread: passing on single small files would cost more than hashing them."""


def image_digests(
    paths: Sequence[Path], workers: int = 1, cache: Path | None = None, notify: Notify = say_nothing
) -> tuple[bytes, ...]:
    """Return the SHA-256 of the bytes of each file.

    The digests identify equal images of two splits and are the key of the decoded array.

    Args:
        paths: image files.
        workers: number of threads; reading and hashing release the interpreter lock.
        cache: folder in which the digests are stored, under the paths, sizes and modification times of all files; a
            published data set has tens of gigabytes, which every worker would read. None reads all files each time.
        notify: is told how many files are read.

    Raises:
        DataError: a file is missing; the message names it.
    """

    def find() -> bytes:
        hashes = _in_threads(
            lambda path: hashlib.sha256(read_bytes(path)).digest(),
            paths,
            workers,
            lambda done: notify("reading images", done, len(paths)),
        )
        return b"".join(hashes)

    if cache is None:
        joined = find()
    else:
        key = {"digests": digest(_states(paths))}
        joined = cached_file(cache, key, ".digests", lambda part: part.write_bytes(find())).read_bytes()
    size = hashlib.sha256().digest_size
    return tuple(joined[start : start + size] for start in range(0, len(joined), size))


def damaged_images(
    paths: Sequence[Path], cache: Path | None, workers: int = 1, notify: Notify = say_nothing
) -> frozenset[Path]:
    """Return the files that are missing or are not complete images.

    Args:
        paths: image files.
        cache: folder in which the result is stored, under the paths, sizes and modification times of all files; None
            decodes all files each time.
        workers: number of threads.
        notify: is told how many files are decoded.
    """

    def find() -> list[str]:
        found = _in_threads(
            image_damage,
            paths,
            workers,
            lambda done: notify("looking for damaged images", done, len(paths)),
        )
        return [str(path) for path, damage in zip(paths, found, strict=True) if damage]

    if cache is None:
        return frozenset(map(Path, find()))
    key = {"damaged": digest(_states(paths)), **_DECODER}
    list_file = cached_file(cache, key, ".damaged", lambda part: write_json(part, find()))
    return frozenset(map(Path, read_json(list_file)))


def image_damage(path: Path, annotated: npt.NDArray[np.int64] | None = None) -> str:
    """Return a sentence about what is wrong with an image file; empty if cells can use it.

    Args:
        path: the file.
        annotated: height and width of the image on which its boxes and masks were made; None without any.
    """
    try:
        return _other_size(path, open_image(path), annotated)
    except DataError as error:
        return str(error)


def _states(paths: Sequence[Path]) -> list[list[str | int]]:
    """Return path, size and times of each file; they change with its content, and programs cannot set ``ctime``."""
    return [
        [str(path), *((stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) if (stat := _stat(path)) else ())]
        for path in paths
    ]


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def decoded_images(
    paths: Sequence[Path],
    size: tuple[int, int],
    cache: Path,
    workers: int,
    digests: Sequence[bytes] | None = None,
    *,
    letterbox: bool = False,
    notify: Notify = say_nothing,
    annotated: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode images to RGB (`open_image`) and resize them once; later calls map the stored array.

    Images of another size are resized with Pillow's bilinear filter, whose support grows with the reduction factor
    (antialiasing); images of the requested size are not changed.

    With ``letterbox`` images keep their aspect ratio and are centred on grey 127 (`Resizing`). They are resized with
    bilinear interpolation of the four nearest pixels, without antialiasing, like OpenCV's ``INTER_LINEAR``, with
    which LaConvNet's weights were trained.

    The array is stored under a hash of the *content* of all files, in order. Names and times are not part of the
    hash: a moved or copied data set finds its array again, and an image that changed under the same name and size
    does not find the old one. Hashing takes about a twentieth of the time of decoding.

    Args:
        paths: image files.
        size: height and width in pixels.
        cache: folder of the stored arrays.
        workers: number of threads; reading, hashing and decoding release the interpreter lock.
        digests: the result of `image_digests` for these files, if it is content_digest.
        letterbox: keep the aspect ratio.
        notify: is told how many images are decoded.
        annotated: ``[N, 2]``, height and width of each image on which its boxes and masks were made.

    Returns:
        Read-only memory map ``[N, H, W, 3]`` uint8.

    Raises:
        DataError: a file is missing, truncated, not an image, refused, or has another size than its annotations say;
            the message names it.
    """
    height, width = size
    resizing = Resizing(height, width, letterbox)

    def fill(content: npt.NDArray[Any]) -> None:
        def decode(row: int) -> None:
            content[row] = _decode(paths[row], resizing, None if annotated is None else annotated[row])

        _in_threads(
            decode,
            range(len(paths)),
            workers,
            lambda done: notify("decoding images", done, len(paths)),
        )

    content_digest = hashlib.sha256(b"".join(digests or image_digests(paths, workers))).hexdigest()
    method = "letterbox" if letterbox else "bilinear"
    key = {"decoded": content_digest, "size": list(size), "resize": method, **_DECODER}
    if annotated is not None:
        key["annotated"] = digest(annotated.tolist())
    return cached_array(cache, key, (len(paths), height, width, 3), np.uint8, fill)


def _in_threads(
    work: Callable[[S], T], items: Sequence[S], workers: int, done: Callable[[int], None]
) -> list[T]:
    """Return the result for each item, in order; ``done`` is told, in this thread, how many are finished."""
    results: list[T] = []
    if workers <= 1:
        for item in items:
            results.append(work(item))
            done(len(results))
        return results

    def chunk(start: int) -> list[T]:
        return [work(item) for item in items[start : start + _CHUNK]]

    with ThreadPoolExecutor(workers) as pool:
        for part in pool.map(chunk, range(0, len(items), _CHUNK)):
            results += part
            done(len(results))
    return results


def _decode(path: Path, resizing: Resizing, annotated: npt.NDArray[np.int64] | None) -> npt.NDArray[np.uint8]:
    """Return one image as ``[H, W, 3]`` uint8, resized; ``annotated`` as in `image_damage`."""
    rgb = open_image(path)
    if other := _other_size(path, rgb, annotated):
        raise DataError(other)
    if rgb.size != (resizing.width, resizing.height):
        fitted = _letterboxed(rgb, resizing) if resizing.letterbox else None
        rgb = fitted or rgb.resize((resizing.width, resizing.height), Image.Resampling.BILINEAR)
    return np.asarray(rgb)


def _other_size(path: Path, rgb: Image.Image, annotated: npt.NDArray[np.int64] | None) -> str:
    """Return a sentence if an image has another size than the one to which its boxes refer; else an empty text."""
    if annotated is None or rgb.size == (annotated[1], annotated[0]):
        return ""
    return (
        f"{path} has {rgb.width} x {rgb.height} pixels (width x height, upright), but its annotations are made on "
        f"{annotated[1]} x {annotated[0]}, so its boxes would be in the wrong place; use the image that was annotated"
    )


def _letterboxed(rgb: Image.Image, resizing: Resizing) -> Image.Image:
    original_width, original_height = rgb.size
    left, top, width, height = map(int, resizing.windows(np.array([[original_height, original_width]]))[0])
    # The affine map from pixels of the new image to pixels of the original one; Pillow adds the half pixels.
    to_original = (original_width / width, 0, 0, 0, original_height / height, 0)
    fitted = rgb.transform((width, height), Image.Transform.AFFINE, to_original, Image.Resampling.BILINEAR)
    canvas = Image.new("RGB", (resizing.width, resizing.height), (GREY, GREY, GREY))
    canvas.paste(fitted, (left, top))
    return canvas
