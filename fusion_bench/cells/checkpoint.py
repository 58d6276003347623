"""The checkpoint of a cell that is being trained: ``checkpoint`` in its folder, from which a killed cell goes on.

The first line is the SHA-256 of the rest, which is a file of ``torch.save`` and is read with ``weights_only``.
"""

from __future__ import annotations

import hashlib
import io
import pickle  # for its error only
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import torch

from fusion_bench.cells.held_cell import HeldCell
from fusion_bench.cells.result import Provenance
from fusion_bench.errors import FusionBenchError, reason_of
from fusion_bench.lease import LeaseLost
from fusion_bench.storage import check_regular

_NOT_COMPARED = frozenset({"platform", "files"})
"""A new kernel changes no number; ``data`` is the digest of the manifest that ``files`` lists in parts."""
_NAMES = {
    "cell": "the cell",
    "module": "the module's source",
    "numerics": "the harness's numerics",
    "data": "the data",
    "weights": "the weights of the backbone",
    "weights_file": "the weights of the backbone",
    "start": "the weights that it starts from",
}


class CheckpointFile:
    """Keeps the state of a cell's training in a file, at most once in a number of minutes.

    No error of the file ends the cell: a checkpoint that cannot be written is left out, and one that cannot be used
    is removed, both with one sentence.

    Args:
        cell: the cell, which this process holds.
        minutes: the shortest time between two checkpoints.
        provenance: what the numbers of the cell come from. A checkpoint of anything else is not used, because the
            numbers of the cell would come from both.
        tell: is called with each sentence.
    """

    def __init__(
        self, cell: HeldCell, minutes: float, provenance: Provenance, tell: Callable[[str], None]
    ) -> None:
        self._cell, self._file = cell, cell.folder.checkpoint
        self._seconds, self._tell = 60 * minutes, tell
        origin = {"cell": cell.folder.id, **asdict(provenance)}
        # As plain text: the version of torch is a class of its own.
        self._origin = {name: str(value) for name, value in origin.items() if name not in _NOT_COMPARED}
        self._next = time.monotonic() + self._seconds
        self._told = False

    @property
    def due(self) -> bool:
        """True if the next checkpoint is to be written."""
        return time.monotonic() >= self._next

    def write(self, step: int, steps: int, state: Mapping[str, Any]) -> None:
        """Write the state of the training after ``step`` of ``steps``; an earlier checkpoint is replaced.

        Raises:
            LeaseLost: another process has taken over the cell.
        """
        try:
            content = io.BytesIO()
            torch.save({"origin": self._origin, "step": step, "state": state}, content)
            with self._cell.lease.replacing(self._file) as part, part.open("wb") as file:
                file.write(f"{hashlib.sha256(content.getbuffer()).hexdigest()}\n".encode())
                file.write(content.getbuffer())
        except LeaseLost:
            raise
        # A full disk, or a module whose extra state cannot be stored: the cell is worth more than its checkpoint.
        except Exception as error:
            if not self._told:
                reason = f"no checkpoint can be written at step {step} of {steps}: {reason_of(error)}"
                self._tell(f"{reason}; the training goes on")
            self._told = True
        self._next = time.monotonic() + self._seconds

    def read(self) -> Mapping[str, Any] | None:
        """Return the state to go on from; None if there is none that can be used."""
        try:
            check_regular(self._file)
            digest, _, content = self._file.read_bytes().partition(b"\n")
            if hashlib.sha256(content).hexdigest().encode() != digest:
                raise FusionBenchError("its checksum does not fit its content")
            stored = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            changed, state = self._changed(stored["origin"]), stored["state"]
        except FileNotFoundError:
            return None
        except pickle.UnpicklingError:  # its message advises to trust the file
            self.reject(FusionBenchError("it holds something else than tensors and plain values"))
            return None
        except Exception as error:  # whatever is in the file, the cell can be trained from its start
            self.reject(error)
            return None
        if changed:
            self._remove(f"is not used, because {changed} changed since it was written")
            return None
        return dict(state)

    def reject(self, error: Exception) -> None:
        """Remove a checkpoint that turned out to be of no use."""
        self._remove(f"is damaged ({reason_of(error)})")

    def _remove(self, reason: str) -> None:
        with suppress(OSError):  # a file that cannot be removed stays
            self._cell.remove_checkpoint()
        self._tell(f"the checkpoint {self._file} {reason}; the cell is trained from its start")

    def _changed(self, then: Mapping[str, Any]) -> str:
        """Return what differs from today's origin, as text; empty if nothing does."""
        named = [
            _NAMES.get(name) or f"{name} ({then.get(name)}, now {value})"
            for name, value in self._origin.items()
            if then.get(name) != value
        ]
        return ", ".join(dict.fromkeys(named))
