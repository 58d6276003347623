"""The images that are held out of a train split as ``select`` where test answers are not published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

SHARE = 20
"""One train image out of this many is held out."""


def is_held_out(image: int) -> bool:
    """Return True if the image with this number is held out; the result depends on the number only."""
    return _hash(image) % SHARE == 0


def held_out_images(images: Iterable[int]) -> frozenset[int]:
    """Return the held-out images of a train split.

    At least one image is held out, unless there are none: in a small split, the image with the smallest hash.
    """
    numbers = sorted(set(images))
    return frozenset(filter(is_held_out, numbers)) or frozenset(sorted(numbers, key=_hash)[:1])


def divide_images(images: Iterable[int], shares: Sequence[float]) -> tuple[frozenset[int], ...]:
    """Divide the images of a split into parts, in the order of their hashes.

    Args:
        images: the numbers of the images.
        shares: the share of each part except the last.

    Returns:
        One part per share, each with at least one image, and a last part with the other images.
    """
    ordered = sorted(set(images), key=_hash)
    counts = [max(1, round(share * len(ordered))) for share in shares]
    ends = [0, *accumulate(counts), len(ordered)]
    return tuple(frozenset(ordered[start:end]) for start, end in pairwise(ends))


def _hash(image: int) -> int:
    return int.from_bytes(hashlib.sha256(f"select {image}".encode()).digest()[:8])
