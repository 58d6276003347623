"""The folder of a cell: its configuration, its outcome and its state. No other file decides the state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.parquet import ParquetFile

from fusion_bench.cells.failure import Failure
from fusion_bench.cells.result import CellResult, Outcome, Provenance, Timing
from fusion_bench.errors import FusionBenchError, bounded_line
from fusion_bench.lease import is_held
from fusion_bench.serialisation import from_json
from fusion_bench.storage import read_json, write_json
from fusion_bench.training.config import CellConfig

D = TypeVar("D")
OUTCOME_FILES = ("result.json", "samples.parquet", "curves.parquet", "timing.json", "provenance.json")
PREDICTIONS = "predictions.parquet"
"""The table of predictions for splits without published answers."""
CELL_FILES = ("config.json", *OUTCOME_FILES, PREDICTIONS, "model.safetensors", "DONE")
"""Every file of a finished cell, in the order in which they are written."""
COLUMNS = {
    "samples.parquet": ("split", "sample", "cluster", "truth", "prediction", "score"),
    "curves.parquet": ("epoch", "samples_seen", "quantity", "value"),
    PREDICTIONS: ("split", "sample", "prediction"),
}
"""The columns that each table of a cell has."""


@dataclass(frozen=True)
class CellFolder:
    """The folder ``runs/cells/<id>``."""

    path: Path

    @property
    def id(self) -> str:
        """The id of the cell, which is the name of its folder."""
        return self.path.name

    @property
    def done(self) -> bool:
        """True once the outcome is written whole; ``DONE`` is written last."""
        return (self.path / "DONE").exists()

    def if_done(self, read: Callable[[CellFolder], D]) -> D | None:
        """Return what ``read`` returns about one outcome; None if the cell is not done.

        Another process may put the outcome aside, and even write a new one, while this one reads; it then reads
        again.

        Raises:
            FusionBenchError: the outcome is damaged.
        """
        while (mark := self._mark()) is not None:
            try:
                found = read(self)
            except FusionBenchError:
                if self._mark() == mark:
                    raise
            else:
                if self._mark() == mark:
                    return found
        return None

    def _mark(self) -> tuple[int, int] | None:
        """Return what tells one ``DONE`` from the next; None without one."""
        try:
            found = (self.path / "DONE").stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    @property
    def failure(self) -> str | None:
        """The reason why the last try of the cell failed, on one line; None if it did not fail.

        A damaged record is a failure too, whose reason is lost.
        """
        record = self.failure_record
        return None if record is None else record.reason

    @property
    def failure_record(self) -> Failure | None:
        """The record of the last try of the cell, its reason on one line; None if it did not fail."""
        if self.done or not self.failed.exists():
            return None
        try:
            record = from_json(Failure, read_json(self.failed), str(self.failed))
        except FusionBenchError as error:
            return Failure(
                f"the reason is lost ({error}); to try the cell again, run the study with --retry-failed"
            )
        return replace(record, reason=bounded_line(record.reason, self.failed))

    @property
    def checkpoint(self) -> Path:
        """The file with the state of an unfinished training; see `fusion_bench.cells.checkpoint`."""
        return self.path / "checkpoint"

    @property
    def failed(self) -> Path:
        """The file with the record of a failure."""
        return self.path / "failed.json"

    def write_config(self, config: CellConfig) -> None:
        """Write ``config.json`` unless it holds this configuration already.

        The id depends on registered names only, so a file written before a registered class was moved is replaced.
        The file of a finished cell stays if it asks for other checkpoints only.
        """
        file, stored = self.path / "config.json", self._stored_config()
        if self.done and stored is not None and stored.without_checkpoint() == config.without_checkpoint():
            return
        if stored != config:
            write_json(file, config.to_json())

    def config(self) -> CellConfig:
        """Return the configuration of the cell.

        Raises:
            FusionBenchError: ``config.json`` is missing, damaged, or belongs to another cell.
        """
        if not (self.path / "config.json").exists() and not self.done:
            raise FusionBenchError(f"{self.path} is no folder of a cell: it has no config.json")
        config = self._read(CellConfig, "config.json")
        if config.id != self.id:
            raise FusionBenchError(
                f"{self.path / 'config.json'} holds the configuration of cell {config.id}, which does not belong in "
                "this folder"
            )
        return config

    def _stored_config(self) -> CellConfig | None:
        """Return what ``config.json`` holds; None if it cannot be read."""
        try:
            return self._read(CellConfig, "config.json")
        except FusionBenchError:
            return None

    @property
    def busy(self) -> bool:
        """True while a process trains this cell."""
        return is_held(self.path)

    def outcome(self) -> Outcome:
        """Return everything that the finished cell left.

        Raises:
            FusionBenchError: it is not finished, or a file is missing or damaged.
        """
        if not self.done:
            raise FusionBenchError(f"the cell {self.path} is not finished (its folder has no file DONE)")
        return Outcome(
            self.result(),
            self._table("samples.parquet"),
            self._table("curves.parquet"),
            self.timing(),
            self.provenance(),
            self._table(PREDICTIONS) if (self.path / PREDICTIONS).exists() else None,
        )

    def result(self) -> CellResult:
        """Return the deterministic values of the finished cell.

        Raises:
            FusionBenchError: the file is missing or damaged; `provenance` raises the same.
        """
        return self._read(CellResult, "result.json")

    def timing(self) -> Timing:
        """Return the seconds that the finished cell took."""
        return self._read(Timing, "timing.json")

    def provenance(self) -> Provenance:
        """Return where the numbers of the finished cell come from."""
        return self._read(Provenance, "provenance.json")

    def samples_of(self, split: str) -> pa.Table:
        """Return the rows of ``samples.parquet`` of one split; far quicker than `outcome` for many small cells.

        Raises:
            FusionBenchError: the file is missing or damaged.
        """
        name = "samples.parquet"
        try:
            with ParquetFile(self.path / name) as file:
                table = file.read(use_threads=False)
            return table.filter(pc.equal(table["split"], split)).replace_schema_metadata()
        except (OSError, ValueError, KeyError) as error:
            raise self._damaged(error) from error

    def _read(self, kind: type[D], name: str) -> D:
        try:
            return from_json(kind, read_json(self.path / name), name)
        except FusionBenchError as error:
            raise self._damaged(error) from error

    def _table(self, name: str) -> pd.DataFrame:
        try:
            table = pd.read_parquet(self.path / name)
        except (OSError, ValueError) as error:
            raise self._damaged(error) from error
        lacking = [column for column in COLUMNS[name] if column not in table]
        if lacking:
            raise self._damaged(FusionBenchError(f"{name} lacks the columns {', '.join(lacking)}"))
        return table

    def _damaged(self, error: Exception) -> FusionBenchError:
        return FusionBenchError(
            f"the cell {self.path} is damaged: {error}; delete the folder to train the cell again"
        )


def cell_folders(runs: Path) -> Iterator[CellFolder]:
    """Yield the folder of every cell in a runs folder, sorted by id; none if it holds no cells."""
    cells = runs / "cells"
    if cells.is_dir():
        yield from (CellFolder(path) for path in sorted(cells.iterdir()) if path.is_dir())


def cell_folder(runs: Path, cell: str) -> CellFolder:
    """Return the folder of a cell in a runs folder."""
    return CellFolder(runs / "cells" / cell)
