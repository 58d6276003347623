"""Run one cell: ``python -m fusion_bench.study.cell DIR`` needs torch, timm, pandas, pyarrow, safetensors.

``DIR`` is a folder ``<runs>/cells/<id>`` with a ``config.json``; caches are made under ``<runs>/cache``.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import filelock
import torch

from fusion_bench.cells.folder import CellFolder, Outcome, no_room
from fusion_bench.cells.provenance import full_provenance
from fusion_bench.cells.warm_start import starting_digest, starting_weights
from fusion_bench.errors import FusionBenchError
from fusion_bench.training.cell_data import CellData, cell_data_key, load_cell_data
from fusion_bench.training.config import CellConfig
from fusion_bench.training.loop import Progress, Trainer, TrainingResult
from fusion_bench.training.paths import RunPaths


class CellDataCache:
    """Keeps the last materials, since neighbouring cells mostly share them."""

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self._key = ""
        self._cell_data: CellData | None = None

    def cell_data(self, config: CellConfig) -> CellData:
        """The materials of a cell."""
        key = cell_data_key(config)
        if self._cell_data is None or key != self._key:
            self._cell_data, self._key = load_cell_data(config, self.paths), key
        return self._cell_data


@dataclass(frozen=True)
class CellReport:
    """How a cell ended: ``failure`` is None if it is done."""

    cell: str
    failure: str | None


class Busy(FusionBenchError):  # noqa: N818 - a state, not a fault
    """Another process is training this cell right now."""


def run_cell(
    folder: CellFolder, cache: CellDataCache, tell: Callable[[Progress], None], *, keep_weights: bool = False
) -> CellReport:
    """Train and judge a cell, unless it is done; record a failure instead of raising it.

    Raises:
        Busy: another process holds the cell.
        FusionBenchError: the folder does not hold a cell.
    """
    try:
        with folder.claim():
            if folder.done:
                return CellReport(folder.id, None)
            config = folder.config()
            torch.set_num_threads(config.threads)
            return _attempt(folder, config, cache, tell, keep_weights=keep_weights)
    except filelock.Timeout as error:
        raise Busy(f"the cell {folder.id} is being trained by another process") from error


def _attempt(
    folder: CellFolder,
    config: CellConfig,
    cache: CellDataCache,
    tell: Callable[[Progress], None],
    *,
    keep_weights: bool,
) -> CellReport:
    # Whatever a module or the data does wrong is that cell's failure; the study goes on.
    try:
        cell_data = cache.cell_data(config)
        device = torch.device(cache.paths.device)
        runs = folder.path.parents[1]
        trained = Trainer(config, cell_data, device, tell, starting_weights(config, runs)).train()
        outcome = _outcome(config, cell_data, trained, cache.paths.device, starting_digest(config, runs))
        folder.finish(outcome, trained.model.state_dict() if keep_weights else None)
    except OSError as error:
        if no_room(error):
            # Nothing can be recorded on a full disk; the cell simply stays not done.
            return CellReport(folder.id, f"the disk is full: {error}; make room and run again")
        return _failed(folder, f"{type(error).__name__}: {error}")
    except FusionBenchError as error:
        return _failed(folder, str(error))
    except Exception as error:
        return _failed(folder, f"{type(error).__name__}: {error}")
    return CellReport(folder.id, None)


def _failed(folder: CellFolder, reason: str) -> CellReport:
    reason = reason.strip().replace("\n", " ")
    folder.fail(reason, traceback.format_exc())
    return CellReport(folder.id, reason)


def _outcome(
    config: CellConfig, cell_data: CellData, trained: TrainingResult, device: str, start: str
) -> Outcome:
    costs = trained.model.costs(config.data.image_size, cell_data.map_shape, cell_data.longest())
    result = {
        "metrics": trained.metrics,
        "selection": {
            name: trained.metrics[f"{cell_data.splits.select}/{name}"] for name in cell_data.metrics
        },
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "costs": {
            "fusion_parameters": costs.fusion.parameters,
            "fusion_multiply_adds": costs.fusion.multiply_adds,
            "around_parameters": costs.around.parameters,
            "around_multiply_adds": costs.around.multiply_adds,
        },
        "vocabulary": len(cell_data.vocabulary),
        **({"words": note} if (note := trained.model.text.note) else {}),
        "outputs": cell_data.task.outputs,
        "train_samples": len(cell_data.encoded[cell_data.splits.train].split),
        "data_warnings": {what: dict(counts) for what, counts in cell_data.data_warnings.items()},
    }
    timing = {"train_seconds": trained.seconds, "evaluation_seconds": trained.evaluation_seconds}
    provenance = full_provenance(
        config, device, manifest=cell_data.manifest, weights=cell_data.weights_sha256
    )
    if start:
        provenance["start"] = start
    return Outcome(result, trained.samples, trained.curves, timing, provenance, trained.predictions)


def named_paths(pairs: list[str]) -> dict[str, Path]:
    """``NAME=PATH`` pairs as a mapping.

    Raises:
        FusionBenchError: a pair has no ``=``.
    """
    named = {}
    for pair in pairs:
        name, sign, path = pair.partition("=")
        if not sign or not name or not path:
            raise FusionBenchError(f"{pair!r} should read NAME=PATH")
        named[name] = Path(path)
    return named


def main(arguments: list[str] | None = None) -> int:
    """Run one cell in this process; 0 if it is done afterwards."""
    parser = argparse.ArgumentParser(prog="python -m fusion_bench.study.cell", description=__doc__)
    parser.add_argument("folder", type=Path, help="<runs>/cells/<id>, holding config.json")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--weights", action="append", default=[], metavar="SHA256=FILE")
    parser.add_argument("--keep-weights", action="store_true", help="write model.safetensors")
    given = parser.parse_args(arguments)
    folder = CellFolder(given.folder.resolve())
    try:
        paths = RunPaths(
            folder.path.parents[1], named_paths(given.data), named_paths(given.weights), given.device
        )
        finished = run_cell(folder, CellDataCache(paths), _print_progress, keep_weights=given.keep_weights)
    except FusionBenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if finished.failure is not None:
        sys.stderr.write(f"cell {folder.id} failed: {finished.failure}\n")
        return 1
    sys.stdout.write(f"cell {folder.id} is done\n")
    return 0


def _print_progress(progress: Progress) -> None:
    sys.stdout.write(f"epoch {progress.epoch}/{progress.epochs}: {progress.quantity} {progress.value:.4f}\n")
