"""Toy cells that are interrupted in the middle of their training; as a program, one that kills itself.

``python interrupted_cells.py RUNS VARIANT STEP MINUTES`` trains the cell of a variant and ends with SIGKILL after a
step.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.run_cell import CellReport, run_cell
from fusion_bench.registry import Target
from fusion_bench.samples.split import Split
from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import CellConfig, CheckpointConfig, Component
from fusion_bench.training.fit.step_done import StepDone
from fusion_bench.training.paths import RunPaths
from toys import toy_cell_data, toy_config

BYTES = ("result.json", "samples.parquet", "curves.parquet", "model.safetensors")
ALWAYS = 1e-9
"""Minutes between checkpoints: one after every step."""
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "adamw": {},
    "adam with average": {"optimizer": "adam", "ema": 0.9, "weight_decay": 0.01},
    "patience": {"epochs": 40, "patience": 2, "learning_rate": 0.2},
    "one per referent": {"one_expression_per_referent": True, "batch_size": 8, "ema": 0.5},
    "float": {"precision": "bfloat16", "warmup_from": 1e-5, "final_learning_rate": 1e-4},
}
"""Training settings by the name of a variant."""


def restless_config(variant: str, minutes: float | None = ALWAYS) -> CellConfig:
    """Return the settings of the cell of a variant."""
    checkpoint = None if minutes is None else CheckpointConfig(minutes)
    config = toy_config(**{"epochs": 4, **VARIANTS[variant]}, checkpoint=checkpoint)
    return replace(
        config,
        arm=Component(Target("restless_modules:Restless")),
        head=replace(config.head, dropout=0.3),
    )


def referring(cell_data: CellData) -> CellData:
    """Return data in which the three questions about one image are three sentences about one referent."""
    train = cell_data.encoded["train"]
    table = train.split.table.assign(referent=train.split.table["image"].map(str))
    named = replace(train, split=Split("train", table, train.split.images))
    return replace(cell_data, encoded={**cell_data.encoded, "train": named})


@dataclass(frozen=True)
class ToyCache:
    """Stands for `CellDataCache`: every cell has the toy data."""

    paths: RunPaths

    def cell_data(self, config: CellConfig) -> CellData:
        return referring(toy_cell_data())


def run_toy_cell(
    runs: Path,
    config: CellConfig,
    on_step: Callable[[StepDone], None] | None = None,
    sentences: list[str] | None = None,
) -> tuple[CellFolder, CellReport]:
    """Train a cell in this process."""
    folder = cell_folder(runs, config.id)
    folder.write_config(config)
    cache = ToyCache(RunPaths(runs, {}, {}))
    tell = [].append if sentences is None else sentences.append
    report = run_cell(folder, cache, lambda _: None, keep_weights=True, on_step=on_step, tell=tell)  # type: ignore[arg-type]
    return folder, report


def bytes_of_result(folder: CellFolder) -> dict[str, bytes]:
    """Return the deterministic files of a finished cell, its weights among them: a value of a metric is coarse."""
    return {name: (folder.path / name).read_bytes() for name in BYTES}


def main(runs: str, variant: str, step: str, minutes: str) -> None:
    """Train a cell and die after a step."""

    def die(done: StepDone) -> None:
        if done.phase == "training" and done.step == int(step):
            os.kill(os.getpid(), signal.SIGKILL)

    run_toy_cell(Path(runs), restless_config(variant, float(minutes)), die)


if __name__ == "__main__":
    main(*sys.argv[1:])
