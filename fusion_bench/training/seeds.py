"""Random streams by named axis, which pair the arms of a study.

The seed of a stream is a hash of its axis and the cell's seed, never of the arm. Two arms with one seed therefore get
the same batches in the same order, and start from the same backbone, text encoder, projection and head. The axes are
``order/<epoch>``, ``init/<part>`` and ``dropout``. Dropout masks are not paired, because modules apply dropout to
different maps.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_of(axis: str, seed: int) -> int:
    """Return a 63-bit seed: the SHA-256 of axis and seed, cut."""
    sha256 = hashlib.sha256(f"{axis}\n{seed}".encode()).digest()
    return int.from_bytes(sha256[:8], "big") >> 1


def stream(axis: str, seed: int) -> torch.Generator:
    """Return a generator on the CPU for one axis."""
    return torch.Generator().manual_seed(seed_of(axis, seed))


@contextmanager
def seeded_rng(axis: str, seed: int) -> Iterator[None]:
    """Seed the global generators from one axis within the block, and restore their state afterwards.

    They are those of torch, NumPy and Python. A module may draw from any of them, and its draws must not depend on
    what the process did before.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices):
            # `torch.manual_seed` keeps the stack of its caller for each kind of device, which costs milliseconds.
            torch.default_generator.manual_seed(seed_of(axis, seed))
            if devices:
                torch.cuda.manual_seed_all(seed_of(axis, seed))
            np.random.seed(seed_of(axis, seed) % 2**32)
            random.seed(seed_of(axis, seed))
            yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)


def random_state() -> dict[str, Any]:
    """Return the state of the global generators of torch, NumPy and Python, as tensors and plain values."""
    of_numpy: Any = np.random.get_state()
    kind, key, position, has_gauss, gauss = of_numpy
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": (kind, torch.from_numpy(key.astype(np.int64)), position, has_gauss, gauss),
        "python": random.getstate(),
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set the global generators to a state that `random_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, key, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, key.numpy().astype(np.uint32), position, has_gauss, gauss))
    random.setstate(state["python"])
