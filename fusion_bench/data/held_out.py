"""Images held out of a train split as ``select`` where the answers of the test split are not published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

SHARE = 20
"""One train image in so many is held out."""


def held_out(image: int) -> bool:
    """Whether the image of this number is; the same on every machine, whatever images there are besides."""
    return _hash(image) % SHARE == 0


def held_out_of(images: Iterable[int]) -> frozenset[int]:
    """Those of a train split's images that are, and never none: of few, the one whose hash is smallest."""
    several = sorted(set(images))
    return frozenset(filter(held_out, several)) or frozenset(sorted(several, key=_hash)[:1])


def dealt(images: Iterable[int], shares: Sequence[float]) -> tuple[frozenset[int], ...]:
    """A split's images dealt out in an order of their own: to each share its part and at least one, the rest last."""
    waiting = sorted(set(images), key=_hash)
    counts = [max(1, round(share * len(waiting))) for share in shares]
    ends = [0, *accumulate(counts), len(waiting)]
    return tuple(frozenset(waiting[start:end]) for start, end in pairwise(ends))


def _hash(image: int) -> int:
    return int.from_bytes(hashlib.sha256(f"select {image}".encode()).digest()[:8])
