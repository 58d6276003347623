"""Training and evaluation of one cell; ``python -m fusion_bench.study.cell DIR`` runs it.

It needs torch, timm, pandas, pyarrow and safetensors only.

``DIR`` is a folder ``<runs>/cells/<id>`` with a ``config.json``; caches are made under ``<runs>/cache``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from fusion_bench.cells.checkpoint import CheckpointFile
from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import CellFolder
from fusion_bench.cells.held_cell import HeldCell, held
from fusion_bench.cells.provenance import current_provenance
from fusion_bench.cells.result import ArmCosts, CellResult, Outcome, Provenance, Timing
from fusion_bench.cells.warm_start import starting_digest, starting_weights
from fusion_bench.errors import CellFailure, FusionBenchError, is_disk_full, reason_of
from fusion_bench.lease import LeaseHeld, LeaseLost
from fusion_bench.processes import ProcessWatch
from fusion_bench.storage import sweep_parts
from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import CellConfig
from fusion_bench.training.fit.result import TrainingResult
from fusion_bench.training.fit.step_done import OnStep, StepDone
from fusion_bench.training.inputs import make_pretext
from fusion_bench.training.load_cell_data import CellDataCache
from fusion_bench.training.loop import Progress, Trainer
from fusion_bench.training.paths import RunPaths, parse_named_paths


@dataclass(frozen=True)
class CellReport:
    """How a cell ended; ``failure`` is None if the cell is done."""

    cell: str
    failure: Failure | None


class CellIsBusy(FusionBenchError):  # noqa: N818 - a state, not an error
    """Another process is training this cell right now."""


def _ignore(_: str) -> None:
    """Do nothing with a sentence."""


def run_cell(
    folder: CellFolder,
    cache: CellDataCache,
    notify: Callable[[Progress], None],
    *,
    keep_weights: bool = False,
    on_step: OnStep | None = None,
    tell: Callable[[str], None] = _ignore,
) -> CellReport:
    """Train and evaluate a cell unless it is done; record a failure instead of raising it.

    Args:
        folder: the folder of the cell.
        cache: the data of cells.
        notify: called after each epoch.
        keep_weights: write the trained weights.
        on_step: called after each batch; see `fusion_bench.training.loop.Trainer`.
        tell: called with each sentence about the cell's checkpoint.

    Raises:
        CellIsBusy: another process holds the cell, or has taken it over.
        FusionBenchError: the folder does not hold a cell.
    """
    try:
        with held(folder) as cell:
            if folder.done:
                cell.remove_checkpoint()
                return CellReport(folder.id, None)
            sweep_parts(folder.path)
            config = folder.config()
            torch.set_num_threads(config.threads)
            attempt = _Attempt(cell, config, cache, notify, on_step, tell)
            return attempt.run(keep_weights=keep_weights)
    except LeaseHeld as error:
        raise CellIsBusy(f"the cell {folder.id} is being trained by another process") from error
    except LeaseLost as error:
        raise CellIsBusy(f"another process has taken over the cell {folder.id}") from error
    except OSError as error:
        if not is_disk_full(error):
            raise
        # Nothing can be recorded on a full disk, so the cell stays without a result.
        return CellReport(folder.id, Failure(reason_of(error)))


@dataclass(frozen=True, eq=False)
class _Attempt:
    """One try to train a cell; the attributes are the arguments of `run_cell`."""

    cell: HeldCell
    config: CellConfig
    cache: CellDataCache
    notify: Callable[[Progress], None]
    on_step: OnStep | None
    tell: Callable[[str], None]

    def run(self, *, keep_weights: bool) -> CellReport:
        """Train the cell and write its outcome, or record its failure.

        Raises:
            LeaseLost: another process has taken over the cell.
        """
        cell, name = self.cell, self.cell.folder.id
        # An error of a module or of the data is recorded as a failure of this cell, and the study continues.
        try:
            with ProcessWatch(self._gpu_bytes) as watch:
                cell_data = self.cache.cell_data(self.config)
                gpu = self._gpu()
                trained = self._trainer(cell_data).train()
                outcome = _outcome(self.config, cell_data, trained, self._provenance(cell_data))
                peaks = {"peak_bytes": watch.peak_bytes(), "peak_gpu_bytes": _reserved_on(gpu)}
                outcome = replace(outcome, timing=replace(outcome.timing, **peaks, usage=watch.looks()))
            cell.finish(outcome, trained.model.state_dict() if keep_weights else None)
            cell.remove_checkpoint()
        except LeaseLost:
            raise
        except OSError as error:
            if is_disk_full(error):
                raise
            return CellReport(name, cell.fail_with(error))
        except SystemExit as error:
            return CellReport(name, cell.fail_with(CellFailure(f"it called sys.exit({error.code!r})")))
        except Exception as error:
            return CellReport(name, cell.fail_with(error))
        return CellReport(name, None)

    def _gpu(self) -> torch.device | None:
        """Return the GPU of the cell, whose peak of memory begins now; None on a CPU."""
        device = torch.device(self.cache.paths.device)
        if device.type != "cuda":
            return None
        torch.cuda.reset_peak_memory_stats(device)
        return device

    def _gpu_bytes(self) -> int:
        """Return the memory that torch has reserved on the GPU of the cell; 0 on a CPU."""
        device = torch.device(self.cache.paths.device)
        return int(torch.cuda.memory_reserved(device)) if device.type == "cuda" else 0

    def _step_done(self, done: StepDone) -> None:
        """Stop the training if another process has taken over the cell, and hand the step on."""
        self.cell.lease.check()
        if self.on_step is not None:
            self.on_step(done)

    def _trainer(self, cell_data: CellData) -> Trainer:
        """Return what trains the cell, from its start or from the checkpoint in its folder."""
        make = partial(
            Trainer,
            self.config,
            cell_data,
            torch.device(self.cache.paths.device),
            self.notify,
            starting_weights(self.config, self._runs),
            on_step=self._step_done,
        )
        asked = self.config.train.checkpoint
        if asked is None:
            return make()
        provenance = self._provenance(cell_data)
        file = CheckpointFile(self.cell, asked.minutes, provenance, self.tell)
        trainer = make(checkpoints=file)
        state = file.read()
        if state is None:
            return trainer
        try:
            step = trainer.resume(state)
        except Exception as error:  # what it has done to the trainer is not known
            file.reject(error)
            return make(checkpoints=file)
        self.tell(f"goes on from its checkpoint at step {step}")
        return trainer

    @property
    def _runs(self) -> Path:
        return self.cell.folder.path.parents[1]

    def _provenance(self, cell_data: CellData) -> Provenance:
        return cell_provenance(self.config, cell_data, self.cache.paths.device, self._runs)


def cell_provenance(config: CellConfig, cell_data: CellData, device: str, runs: Path) -> Provenance:
    """Return what is recorded beside an outcome of a cell with these data, on this device and in this runs folder."""
    return current_provenance(
        config,
        device,
        manifest=cell_data.manifest,
        weights=cell_data.weights_sha256,
        start=starting_digest(config, runs),
        files=cell_data.contents,
        weights_file=cell_data.weights_file_sha256,
    )


def _reserved_on(gpu: torch.device | None) -> int:
    return 0 if gpu is None else int(torch.cuda.max_memory_reserved(gpu))


def _outcome(
    config: CellConfig, cell_data: CellData, trained: TrainingResult, provenance: Provenance
) -> Outcome:
    costs = trained.model.costs(config.data.image_size, cell_data.map_shape, cell_data.longest())
    result = CellResult(
        metrics=trained.metrics,
        selection={name: trained.metrics[f"{cell_data.splits.select}/{name}"] for name in cell_data.metrics},
        epochs=trained.epochs,
        best_epoch=trained.best_epoch,
        costs=ArmCosts(
            costs.fusion.parameters,
            costs.fusion.multiply_adds,
            costs.around.parameters,
            costs.around.multiply_adds,
        ),
        vocabulary=len(cell_data.vocabulary),
        outputs=cell_data.task.outputs,
        train_samples=len(cell_data.encoded[cell_data.splits.train].split),
        words=trained.model.text.note or "",
        data_warnings=cell_data.data_warnings,
    )
    timing = Timing(trained.seconds, trained.evaluation_seconds)
    return Outcome(result, trained.samples, trained.curves, timing, provenance, trained.predictions)


def main(arguments: list[str] | None = None) -> int:
    """Run one cell in this process and return the exit status: 0 done, 1 failed, 2 no such cell or data."""
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
            folder.path.parents[1],
            parse_named_paths(given.data),
            parse_named_paths(given.weights),
            given.device,
        )
        if not folder.done:
            make_pretext(folder.config(), paths)
        report = run_cell(
            folder,
            CellDataCache(paths),
            _print_progress,
            keep_weights=given.keep_weights,
            tell=_print_sentence,
        )
    except FusionBenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if report.failure is not None:
        sys.stderr.write(f"cell {folder.id} failed: {report.failure.reason}\n")
        return 1
    sys.stdout.write(f"cell {folder.id} is done\n")
    return 0


def _print_progress(progress: Progress) -> None:
    sys.stdout.write(f"epoch {progress.epoch}/{progress.epochs}: {progress.quantity} {progress.value:.4f}\n")


def _print_sentence(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
