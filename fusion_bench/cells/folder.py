"""A cell's folder: what was asked, what came out, and in which state it is. The folder decides."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import pandas as pd
from safetensors.torch import save
from torch import Tensor

from fusion_bench.errors import FusionBenchError
from fusion_bench.storage import lock, read_json, replacing, write_json, write_text
from fusion_bench.training.config import CellConfig

OUTCOME_FILES = ("result.json", "samples.parquet", "curves.parquet", "timing.json", "provenance.json")
_PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a finished cell left.

    Attributes:
        result: deterministic values: ``metrics`` (``<split>/<metric>`` to value), ``selection`` (those of
            the selection split by metric), ``epochs``, ``best_epoch``, ``costs``, ``vocabulary``,
            ``outputs``, ``train_samples``, ``doubts`` (see `training.materials.Materials`).
        samples, curves: see `training.loop.Trained`.
        timing: seconds, which differ from run to run.
        provenance: hashes of sources, data and weights, versions, device.
        predictions: ``split``, ``sample`` and ``prediction`` on the splits whose truth is not published; no report
            reads them. None where the data set names no such split.
    """

    result: Mapping[str, Any]
    samples: pd.DataFrame
    curves: pd.DataFrame
    timing: Mapping[str, float]
    provenance: Mapping[str, Any]
    predictions: pd.DataFrame | None = None


@dataclass(frozen=True)
class CellFolder:
    """``runs/cells/<id>``."""

    path: Path

    @property
    def id(self) -> str:
        """The cell's id is its folder's name."""
        return self.path.name

    @property
    def done(self) -> bool:
        """True once everything is written; DONE comes last."""
        return (self.path / "DONE").exists()

    @property
    def failure(self) -> str | None:
        """Why the cell failed when it was last tried; None if it did not."""
        record = self.path / "failed.json"
        return None if self.done or not record.exists() else str(read_json(record)["reason"])

    def ask(self, config: CellConfig) -> None:
        """Write ``config.json`` unless it stands.

        It is written again where a registered class has moved since: the id is that of the registered name.
        """
        file = self.path / "config.json"
        if not file.exists() or self._stored() != config:
            write_json(file, config.to_json())

    def config(self) -> CellConfig:
        """What the cell was asked.

        Raises:
            FusionBenchError: ``config.json`` is missing, damaged, or another cell's.
        """
        config = CellConfig.from_json(read_json(self.path / "config.json"))
        if config.id != self.id:
            raise FusionBenchError(
                f"{self.path / 'config.json'} asks for cell {config.id}; it does not belong in this folder"
            )
        return config

    def _stored(self) -> CellConfig | None:
        """What ``config.json`` holds; None where it cannot be read."""
        try:
            return CellConfig.from_json(read_json(self.path / "config.json"))
        except FusionBenchError:
            return None

    def claim(self) -> filelock.BaseFileLock:
        """The lock that makes one process at a time train this cell; freed even by ``kill -9``."""
        return lock(self.path / "lock", wait=False)

    def finish(self, outcome: Outcome, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write an outcome; DONE last, so that an interrupted writing leaves a cell that is not done."""
        if weights is not None:
            with replacing(self.path / "model.safetensors") as part:
                # Not save_file, whose own error for a full disk has no errno.
                part.write_bytes(save({name: tensor.contiguous() for name, tensor in weights.items()}))
        tables = {"samples": outcome.samples, "curves": outcome.curves, "predictions": outcome.predictions}
        for name, table in tables.items():
            if table is None:
                continue
            with replacing(self.path / f"{name}.parquet") as part:
                table.to_parquet(part, index=False, compression="zstd")
        write_json(self.path / "timing.json", dict(outcome.timing))
        write_json(self.path / "provenance.json", dict(outcome.provenance))
        write_json(self.path / "result.json", dict(outcome.result))
        (self.path / "failed.json").unlink(missing_ok=True)
        write_text(self.path / "DONE", "")

    def fail(self, reason: str, details: str) -> None:
        """Record why the cell could not finish; a failure is never taken for a result."""
        write_json(self.path / "failed.json", {"reason": reason, "details": details})

    def forget_failure(self) -> None:
        """Let the cell be tried again."""
        (self.path / "failed.json").unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Put a stale outcome aside under ``shelf/<n>`` so that the cell can be trained anew."""
        cache = self.path / "shelf" / str(len(list((self.path / "shelf").glob("*"))))
        cache.mkdir(parents=True)
        # DONE goes first: from here on the cell counts as not done, whenever we are interrupted.
        for name in ("DONE", *OUTCOME_FILES, _PREDICTIONS, "model.safetensors"):
            if (self.path / name).exists():
                shutil.move(self.path / name, cache / name)

    def outcome(self) -> Outcome:
        """Read a finished cell.

        Raises:
            FusionBenchError: it is not finished, or a file is missing or damaged.
        """
        if not self.done:
            raise FusionBenchError(f"the cell {self.path} is not finished (it has no DONE)")
        try:
            samples = pd.read_parquet(self.path / "samples.parquet")
            curves = pd.read_parquet(self.path / "curves.parquet")
            said = self.path / _PREDICTIONS
            predictions = pd.read_parquet(said) if said.exists() else None
        except (OSError, ValueError) as error:
            raise FusionBenchError(
                f"the cell {self.path} is damaged: {error}; delete it to train again"
            ) from error
        return Outcome(
            self.result(),
            samples,
            curves,
            read_json(self.path / "timing.json"),
            self.provenance(),
            predictions,
        )

    def result(self) -> Mapping[str, Any]:
        """The deterministic values of a finished cell."""
        written: Mapping[str, Any] = read_json(self.path / "result.json")
        return written

    def provenance(self) -> Mapping[str, Any]:
        """Where a finished cell's numbers come from."""
        written: Mapping[str, Any] = read_json(self.path / "provenance.json")
        return written


def no_room(error: OSError) -> bool:
    """True for a full disk, a spent quota and the largest size that a file may have."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def cell_folder(runs: Path, cell: str) -> CellFolder:
    """The folder of a cell in a runs folder."""
    return CellFolder(runs / "cells" / cell)
