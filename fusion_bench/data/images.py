"""Image files decoded once into one array on disk that every process maps."""

from __future__ import annotations

import hashlib
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
from fusion_bench.storage import cached_array

T = TypeVar("T")

_CHUNK = 64
"""Files a task: handing over single small files would cost more than hashing them."""
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB\x60\x82"
_DAMAGE = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow raises, by format and place of the damage, when a file is not a whole image."""


def decoded_images(
    paths: Sequence[Path], size: tuple[int, int], cache: Path, workers: int
) -> npt.NDArray[np.uint8]:
    """Decode images to RGB and resize them, once; later calls map the stored array.

    Images of another size are resized with Pillow's bilinear filter, whose support grows with the
    reduction (antialiased); images of the right size are left as they are. An alpha channel is dropped.

    The array is stored under a hash of the *content* of all files, in order. Names and times are left
    out: a moved or copied data set finds its array again, and a changed picture of equal name and size
    never does. Hashing costs about a twentieth of decoding.

    Args:
        paths: image files.
        size: height and width in pixels.
        cache: folder of the stored arrays.
        workers: threads; reading, hashing and decoding release the interpreter lock.

    Returns:
        Read-only memory map ``[N, H, W, 3]``.

    Raises:
        DataError: a file is missing, truncated or no image; names it.
    """
    height, width = size
    rows = [range(start, min(start + _CHUNK, len(paths))) for start in range(0, len(paths), _CHUNK)]

    def hashed(chunk: range) -> bytes:
        return b"".join(hashlib.sha256(_bytes(paths[row])).digest() for row in chunk)

    def fill(content: npt.NDArray[Any]) -> None:
        def decode(chunk: range) -> None:
            for row in chunk:
                content[row] = _decode(paths[row], (width, height))

        _in_threads(decode, rows, workers)

    digests = hashlib.sha256(b"".join(_in_threads(hashed, rows, workers))).hexdigest()
    key = {"decoded": digests, "size": list(size), "resize": "bilinear", "pillow": PIL.__version__}
    return cached_array(cache, key, (len(paths), height, width, 3), np.uint8, fill)


def _in_threads(work: Callable[[range], T], chunks: Sequence[range], workers: int) -> list[T]:
    if workers <= 1:
        return [work(chunk) for chunk in chunks]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, chunks))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the image {path}: {error.strerror}") from error


def _decode(path: Path, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """One image as ``[H, W, 3]``; ``size`` is Pillow's (width, height)."""
    data = _bytes(path)
    try:
        # Pillow is content once it has every pixel; a file cut short behind them is still not the published one.
        if data.startswith(_PNG_START) and _PNG_END not in data[-64:]:
            raise OSError("its end is missing")
        with Image.open(BytesIO(data)) as image:
            rgb = image.convert("RGB")
            if rgb.size != size:
                rgb = rgb.resize(size, Image.Resampling.BILINEAR)
            return np.asarray(rgb)
    except _DAMAGE as error:
        raise DataError(f"{path} is damaged or no image ({error}); fetch or make it again") from error
