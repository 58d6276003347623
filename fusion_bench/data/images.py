"""Image files decoded once into one array on disk that every process maps."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from fusion_bench.errors import DataError
from fusion_bench.samples.geometry import Resizing
from fusion_bench.storage import cached_array, cached_file, digest, read_json, write_json

S = TypeVar("S")
T = TypeVar("T")

GREY = 127
"""What stands around a letterboxed picture."""
_CHUNK = 64
"""Files a task: handing over single small files would cost more than hashing them."""
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB\x60\x82"
_DAMAGE = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow raises, by format and place of the damage, when a file is not a whole image."""


def image_digests(paths: Sequence[Path], workers: int = 1, cache: Path | None = None) -> tuple[bytes, ...]:
    """SHA-256 of the bytes of each file: equal pictures of two splits, and the key of what is decoded.

    Args:
        paths: image files.
        workers: threads; reading and hashing release the interpreter lock.
        cache: folder where the answer is kept, under the places, sizes and times of change of all files: a
            published data set is tens of gigabytes, which every worker would read. None reads them each time.

    Raises:
        DataError: a file is missing; names it.
    """

    def find() -> bytes:
        return b"".join(_in_threads(lambda path: hashlib.sha256(_bytes(path)).digest(), paths, workers))

    if cache is None:
        joined = find()
    else:
        key = {"digests": digest(_states(paths))}
        joined = cached_file(cache, key, ".digests", lambda part: part.write_bytes(find())).read_bytes()
    size = hashlib.sha256().digest_size
    return tuple(joined[start : start + size] for start in range(0, len(joined), size))


def damaged_images(paths: Sequence[Path], cache: Path | None, workers: int = 1) -> frozenset[Path]:
    """Files that are missing or no whole images.

    Args:
        paths: image files.
        cache: folder where the answer is kept, under the places, sizes and times of change of all files; None
            decodes every one of them each time.
        workers: threads.
    """

    def find() -> list[str]:
        found = _in_threads(damage_of, paths, workers)
        return [str(path) for path, damage in zip(paths, found, strict=True) if damage]

    if cache is None:
        return frozenset(map(Path, find()))
    key = {"damaged": digest(_states(paths)), "pillow": PIL.__version__}
    list_file = cached_file(cache, key, ".damaged", lambda part: write_json(part, find()))
    return frozenset(map(Path, read_json(list_file)))


def damage_of(path: Path) -> str:
    """What is wrong with an image file, in words; empty for nothing."""
    try:
        _decode(path)
    except DataError as error:
        return str(error)
    return ""


def _states(paths: Sequence[Path]) -> list[list[str | int]]:
    """What changes with a file's content; nobody sets the time of the last change of all (``ctime``)."""
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
) -> npt.NDArray[np.uint8]:
    """Decode images to RGB and resize them, once; later calls map the stored array.

    Images of another size are resized with Pillow's bilinear filter, whose support grows with the
    reduction (antialiased); images of the right size are left as they are. An alpha channel is dropped.

    With ``letterbox`` they keep their shape and stand in the middle of grey 127 (`Resizing`), resized bilinearly
    between the four nearest pixels alone: not antialiased, as OpenCV's ``INTER_LINEAR`` is not, with which
    LaConvNet's weights were made.

    The array is stored under a hash of the *content* of all files, in order. Names and times are left
    out: a moved or copied data set finds its array again, and a changed picture of equal name and size
    never does. Hashing costs about a twentieth of decoding.

    Args:
        paths: image files.
        size: height and width in pixels.
        cache: folder of the stored arrays.
        letterbox: keep their shape.
        workers: threads; reading, hashing and decoding release the interpreter lock.
        digests: what `image_digests` says of the files, if it was asked before.

    Returns:
        Read-only memory map ``[N, H, W, 3]``.

    Raises:
        DataError: a file is missing, truncated or no image; names it.
    """
    height, width = size
    resizing = Resizing(height, width, letterbox)

    def fill(content: npt.NDArray[Any]) -> None:
        def decode(row: int) -> None:
            content[row] = _decode(paths[row], resizing)

        _in_threads(decode, range(len(paths)), workers)

    known = hashlib.sha256(b"".join(digests or image_digests(paths, workers))).hexdigest()
    how = "letterbox" if letterbox else "bilinear"
    key = {"decoded": known, "size": list(size), "resize": how, "pillow": PIL.__version__}
    return cached_array(cache, key, (len(paths), height, width, 3), np.uint8, fill)


def _in_threads(work: Callable[[S], T], items: Sequence[S], workers: int) -> list[T]:
    if workers <= 1:
        return [work(item) for item in items]

    def chunk(start: int) -> list[T]:
        return [work(item) for item in items[start : start + _CHUNK]]

    with ThreadPoolExecutor(workers) as pool:
        return [result for part in pool.map(chunk, range(0, len(items), _CHUNK)) for result in part]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the image {path}: {error.strerror}") from error


def _decode(path: Path, resizing: Resizing | None = None) -> npt.NDArray[np.uint8]:
    """One image as ``[H, W, 3]``, at its own size if ``resizing`` is left out.

    Pillow 13 decodes 595 CLEVR-like PNGs of 240x160, 98 PNGs of 480x320 with alpha and 172 JPEGs of 640x512 a
    second on one core, torchvision 0.29 629, 128 and 261, simplejpeg 268 of the JPEGs; all to the same pixels.
    Resizing included, torchvision would save a fifth of what is done once per data set, does not say what is
    wrong with a damaged file, and gives its decoders up.
    """
    data = _bytes(path)
    try:
        # Pillow is content once it has every pixel; a file cut short behind them is still not the published one.
        if data.startswith(_PNG_START) and _PNG_END not in data[-64:]:
            raise OSError("its end is missing")
        with Image.open(BytesIO(data)) as image:
            rgb = image.convert("RGB")
            size = rgb.size if resizing is None else (resizing.width, resizing.height)
            if resizing is not None and rgb.size != size:
                fitted = _letterboxed(rgb, resizing) if resizing.letterbox else None
                rgb = fitted or rgb.resize(size, Image.Resampling.BILINEAR)
            return np.asarray(rgb)
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged or no image ({error}); fetch or make it again") from error


def _letterboxed(rgb: Image.Image, resizing: Resizing) -> Image.Image:
    wide, high = rgb.size
    left, top, width, height = map(int, resizing.windows(np.array([[high, wide]]))[0])
    # A point of the new picture, its centre half a pixel in, to its place in the old one.
    onto = (wide / width, 0, 0, 0, high / height, 0)
    fitted = rgb.transform((width, height), Image.Transform.AFFINE, onto, Image.Resampling.BILINEAR)
    canvas = Image.new("RGB", (resizing.width, resizing.height), (GREY, GREY, GREY))
    canvas.paste(fitted, (left, top))
    return canvas
