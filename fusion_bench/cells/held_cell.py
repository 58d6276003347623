"""A cell that this process holds: the one place that writes to the folder of a cell, apart from its configuration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from safetensors.torch import save
from torch import Tensor

from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import CELL_FILES, OUTCOME_FILES, PREDICTIONS, CellFolder
from fusion_bench.cells.result import Outcome
from fusion_bench.errors import bounded_line
from fusion_bench.lease import Lease, LeaseHeld
from fusion_bench.serialisation import to_json
from fusion_bench.storage import json_text


@contextmanager
def held(folder: CellFolder) -> Iterator[HeldCell]:
    """Hold a cell while the block runs; the lease of a process that dies is free at once on its own host.

    Raises:
        LeaseHeld: another process holds the cell.
    """
    with Lease(folder.path) as lease:
        yield HeldCell(folder, lease)


def record_failure(folder: CellFolder, failure: Failure) -> None:
    """Record why a cell failed whose worker cannot; one that another process holds or has finished has not failed."""
    with suppress(LeaseHeld), held(folder) as cell:
        if not folder.done:
            cell.fail(failure)


@dataclass(frozen=True, eq=False)
class HeldCell:
    """Writes to the folder of a cell under a lease.

    Every method raises `LeaseLost` if the lease was taken over, and then changes nothing that another process wrote.

    Attributes:
        folder: the folder.
        lease: the right to write to it.
    """

    folder: CellFolder
    lease: Lease

    def finish(self, outcome: Outcome, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write an outcome, ``DONE`` last, so that an interrupted write leaves a cell that is not done."""
        self.clear()
        path = self.folder.path
        if weights is not None:
            with self.lease.replacing(path / "model.safetensors") as part:
                # save_file would raise an error without errno when the disk is full.
                part.write_bytes(save({name: tensor.contiguous() for name, tensor in weights.items()}))
        tables = {"samples": outcome.samples, "curves": outcome.curves, "predictions": outcome.predictions}
        for name, table in tables.items():
            if table is None:
                continue
            with self.lease.replacing(path / f"{name}.parquet") as part:
                table.to_parquet(part, index=False, compression="zstd")
        self._write_json("timing.json", to_json(outcome.timing))
        self._write_json("provenance.json", to_json(outcome.provenance))
        self._write_json("result.json", to_json(outcome.result))
        self.forget_failure()
        self._write("DONE", "")

    def take(self, other: CellFolder) -> None:
        """Copy the files of a finished cell here, ``DONE`` last, and forget the failure of this one."""
        self.clear()
        for name in CELL_FILES:
            if (other.path / name).exists():
                with self.lease.replacing(self.folder.path / name) as part:
                    shutil.copyfile(other.path / name, part)
        self.forget_failure()
        self.remove_checkpoint()

    def clear(self) -> None:
        """Remove what an interrupted try left of an outcome, which would pass for a part of the next one."""
        for name in reversed(CELL_FILES):  # DONE first
            if name != "config.json":
                self.lease.remove(self.folder.path / name)

    def fail(self, failure: Failure) -> None:
        """Record why the cell failed; a failure is never counted as a result."""
        bounded = replace(failure, reason=bounded_line(failure.reason, self.folder.failed))
        self._write_json(self.folder.failed.name, to_json(bounded))

    def fail_with(self, error: BaseException) -> Failure:
        """Record an exception that is being handled as the failure of the cell, and return the record."""
        failure = Failure.of(error, self.folder.failed)
        self.fail(failure)
        return failure

    def forget_failure(self) -> None:
        """Remove the record of the failure, so that the cell is tried again."""
        self.lease.remove(self.folder.failed)

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint if there is one."""
        self.lease.remove(self.folder.checkpoint)

    def set_aside(self) -> None:
        """Move a stale outcome to ``replaced/<n>``, so that the cell can be trained again."""
        path = self.folder.path
        # DONE is moved first: an interruption after this leaves a cell that is not done.
        files = [path / name for name in ("DONE", *OUTCOME_FILES, PREDICTIONS, "model.safetensors")]
        earlier = (path / "replaced").glob("*")
        number = 1 + max((int(folder.name) for folder in earlier if folder.name.isdecimal()), default=-1)
        self.lease.move([file for file in files if file.exists()], path / "replaced" / str(number))

    def _write_json(self, name: str, value: Any) -> None:
        self._write(name, json_text(value))

    def _write(self, name: str, text: str) -> None:
        with self.lease.replacing(self.folder.path / name) as part:
            part.write_text(text, encoding="utf-8")
