"""Streams of random numbers by named axis, so that arms are paired.

A stream is hashed from its axis and the cell's seed and never from the arm: two arms of one seed see the
same batches in the same order and start from the same backbone, text encoder, projection and head. Axes
are ``order/<epoch>``, ``init/<part>`` and ``dropout``. (Dropout masks are not paired: modules differ in
what they drop.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(axis: str, seed: int) -> int:
    """A 63-bit seed from the SHA-256 of axis and seed."""
    hashed = hashlib.sha256(f"{axis}\n{seed}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") >> 1


def stream(axis: str, seed: int) -> torch.Generator:
    """A generator on the CPU for one axis."""
    return torch.Generator().manual_seed(seed_of(axis, seed))


@contextmanager
def seeded_rng(axis: str, seed: int) -> Iterator[None]:
    """Within the block torch's global generators draw from one axis; afterwards they are as before."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed_of(axis, seed))
        yield
