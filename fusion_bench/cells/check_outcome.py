"""The check of a finished cell that another machine trained: every file is there, readable and of the right shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype
from safetensors import SafetensorError, safe_open

from fusion_bench.cells.folder import COLUMNS, CellFolder
from fusion_bench.cells.result import CellResult, Outcome
from fusion_bench.errors import FusionBenchError

_TOLERANCE = 1e-4  # of a mean in single precision


def check_outcome(folder: CellFolder) -> None:
    """Check a finished cell whole; no class that its configuration names is imported.

    Raises:
        FusionBenchError: the configuration belongs to another cell, or a file is missing, damaged or of the wrong
            shape; the message names the file.
    """
    folder.config()
    outcome = folder.outcome()
    _check_result(outcome.result, folder.path / "result.json")
    timing = outcome.timing
    _check_finite({k: v for k, v in vars(timing).items() if k != "usage"}, folder.path / "timing.json")
    for look in timing.usage:
        _check_finite(vars(look), folder.path / "timing.json")
    samples = folder.path / "samples.parquet"
    _check_table(outcome.samples, samples)
    if not (is_numeric_dtype(outcome.samples["score"]) and outcome.samples["score"].between(0, 1).all()):
        raise FusionBenchError(f"{samples} has a score that is not a number in [0, 1]")
    splits = {name.partition("/")[0] for name in outcome.result.metrics}
    if set(outcome.samples["split"]) != splits:
        raise FusionBenchError(f"{samples} has other splits than result.json: {', '.join(sorted(splits))}")
    _check_means(outcome, folder.path)
    _check_table(outcome.curves, folder.path / "curves.parquet")
    if outcome.predictions is not None:
        _check_table(outcome.predictions, folder.path / "predictions.parquet")
    _check_weights(folder.path / "model.safetensors")


def _check_result(result: CellResult, file: Path) -> None:
    _check_finite({**result.metrics, **result.selection}, file)
    names = {name.partition("/")[2] for name in result.metrics}
    if not result.selection or not names.issuperset(result.selection):
        raise FusionBenchError(f"{file} holds no value of the selection metric")
    if not 0 <= result.best_epoch <= result.epochs:
        raise FusionBenchError(f"{file}: the best epoch is {result.best_epoch} of {result.epochs}")


def _check_means(outcome: Outcome, folder: Path) -> None:
    """Check that one metric of each split is the mean of the scores of its samples."""
    for split, mean in outcome.samples.groupby("split")["score"].mean().items():
        values = [value for name, value in outcome.result.metrics.items() if name.startswith(f"{split}/")]
        if values and min(abs(value - mean) for value in values) > _TOLERANCE:
            raise FusionBenchError(
                f"{folder / 'result.json'} contradicts samples.parquet: the mean score on {split} is {mean:.4f}, and "
                "no metric of that split says so"
            )


def _check_finite(values: Mapping[str, float], file: Path) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise FusionBenchError(f"{file}: {name} is {value}, which is no result")


def _check_table(table: pd.DataFrame, file: Path) -> None:
    empty = [name for name in COLUMNS[file.name] if table[name].isna().any()]
    if empty or table.empty:
        raise FusionBenchError(f"{file} has no value in {', '.join(empty) or 'any column'}")


def _check_weights(file: Path) -> None:
    if not file.exists():
        return
    try:
        with safe_open(file, framework="pt") as weights:
            weights.keys()
    except (SafetensorError, OSError) as error:
        raise FusionBenchError(f"{file} is damaged: {error}") from error
