"""Trains exported cells by the worker program: ``python -m fusion_bench.bench.gpu.exported_cells FOLDER OUT``.

``FOLDER`` is what ``fusion-bench plan STUDY --export FOLDER`` wrote; the outcome of each cell is written into it, and
``fusion-bench cells import FOLDER`` takes it. It is a part of ``tools/gpu_check.sh``, and needs torch, timm, pandas,
pyarrow and safetensors.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from fusion_bench.bench.gpu.outcome import PartOutcome
from fusion_bench.bench.timing import benchmark_device, machine_name
from fusion_bench.cells.events import CellFailed, WorkerEvent
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.folder import CellFolder
from fusion_bench.errors import FusionBenchError
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True)
class EndedCell:
    """How an exported cell ended.

    Attributes:
        cell: its id; ``arm``: its module or network; ``seed``: its seed.
        seconds: wall-clock seconds of training and evaluation; None if it is not done.
        selection: the values on the selection split, by name; empty if it is not done.
        failure: why it failed; None if it is done.
    """

    cell: str
    arm: str
    seed: int
    seconds: float | None
    selection: dict[str, float]
    failure: str | None


def train_exported(folder: Path, out: Path, device: torch.device) -> int:
    """Train the cells of a folder one after the other and return the exit code: 1 if one failed.

    Raises:
        FusionBenchError: the folder holds no exported cells.
    """
    cells = [
        CellFolder(path) for path in sorted((folder / "cells").glob("*")) if (path / "config.json").exists()
    ]
    if not cells:
        raise FusionBenchError(
            f"{folder} holds no exported cells; make it with: fusion-bench plan STUDY --export {folder}"
        )
    configs = {cell.id: cell.config() for cell in cells}
    threads = max(config.threads for config in configs.values())
    paths = RunPaths(folder, {}, {}, str(device), workers=os.cpu_count() or 1)
    outcome = PartOutcome(
        out, "cells", f"{machine_name(device)}, torch {torch.__version__}", ("cell", "arm", "seed", "outcome")
    )
    failed: dict[str, str] = {}
    with LocalExecutor(WorkerSettings(paths, 1, threads), out / "logs") as executor:
        _note_failures(executor.prepare(list(configs)), failed)
        for cell in cells:
            _note_failures(executor.run([cell.id]) if cell.id not in failed else iter(()), failed)
            ended = _ended(cell, failed.get(cell.id))
            outcome.add((ended.cell, ended.arm, str(ended.seed), _described(ended)), ended)
    outcome.end()
    return 1 if failed else 0


def _note_failures(events: Iterator[WorkerEvent], failed: dict[str, str]) -> None:
    for event in events:
        if isinstance(event, CellFailed):
            failed[event.cell] = event.reason


def _ended(cell: CellFolder, failure: str | None) -> EndedCell:
    config = cell.config()
    name = config.arm.target.asked
    if failure is not None or not cell.done:
        return EndedCell(cell.id, name, config.seed, None, {}, failure or "it has no outcome")
    return EndedCell(cell.id, name, config.seed, cell.timing().seconds, dict(cell.result().selection), None)


def _described(ended: EndedCell) -> str:
    if ended.failure is not None:
        return f"failed: {ended.failure}"
    values = ", ".join(f"{name} {value:.4f}" for name, value in ended.selection.items())
    return f"done in {ended.seconds:.1f} s, {values}"


def main(arguments: list[str] | None = None) -> int:
    """Train the cells and return the exit code: 1 if a cell failed, 2 if there are none or no such device."""
    parser = argparse.ArgumentParser(
        prog="python -m fusion_bench.bench.gpu.exported_cells", description=__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args(arguments)
    try:
        return train_exported(given.folder.resolve(), given.out.resolve(), benchmark_device(given.device))
    except FusionBenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
