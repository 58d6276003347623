"""What the folders of a trial's cells tell beside its value: the metric after each epoch, and when it was trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean

import pandas as pd

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.study.trials.record import TrialDetails


def details_of(
    cells: Sequence[str], runs: Path, metric: str, *, reached: Mapping[int, float] | None = None
) -> TrialDetails:
    """Return the details of the trial that some cells make up.

    A cell that is damaged tells nothing: this is for show only, and the value of the trial is read elsewhere.

    Args:
        cells: their ids.
        runs: the runs folder.
        metric: the selection metric.
        reached: the values of a pruned search by the number of epochs; None reads the curve of the cells, mean over
            the cells.
    """
    folders = [cell_folder(runs, cell) for cell in cells]
    times = [found for folder in folders if (found := _times(folder)) is not None]
    intermediate = _mean_curve(folders, metric) if reached is None else reached
    if not times:
        return TrialDetails(intermediate)
    return TrialDetails(intermediate, min(started for started, _ in times), max(ended for _, ended in times))


def _times(folder: CellFolder) -> tuple[datetime, datetime] | None:
    """Return when a cell began and ended; of one that failed only the end is known."""
    file = folder.path / "DONE" if folder.done else folder.failed
    try:
        ended = datetime.fromtimestamp(file.stat().st_mtime)
        seconds = folder.timing().seconds if folder.done else 0.0
        return ended - timedelta(seconds=seconds), ended
    except (OSError, OverflowError, ValueError, FusionBenchError):
        return None


def _mean_curve(folders: Iterable[CellFolder], metric: str) -> dict[int, float]:
    """Return the mean of the selection metric after each epoch that every cell has trained."""
    curves = [_curve(folder, metric) for folder in folders]
    epochs = set.intersection(*map(set, curves)) if curves else set()
    return {epoch: fmean(curve[epoch] for curve in curves) for epoch in sorted(epochs)}


def _curve(folder: CellFolder, metric: str) -> dict[int, float]:
    if not folder.done:
        return {}
    try:
        table = pd.read_parquet(
            folder.path / "curves.parquet",
            columns=["epoch", "value"],
            filters=[("quantity", "==", f"select/{metric}")],
        )
    except (OSError, ValueError, KeyError):
        return {}
    return {int(epoch): float(value) for epoch, value in zip(table["epoch"], table["value"], strict=True)}
