"""Images held out of a train split as ``select`` where the answers of the test split are not published."""

from __future__ import annotations

import hashlib

SHARE = 20
"""One train image in so many is held out."""


def held_out(image: int) -> bool:
    """Whether the image of this number is; the same on every machine, whatever images there are besides."""
    return int.from_bytes(hashlib.sha256(f"select {image}".encode()).digest()[:8]) % SHARE == 0
