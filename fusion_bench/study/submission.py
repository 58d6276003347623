"""Predictions of finished cells in the file format that a data set's publishers evaluate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.samples.split import Split
from fusion_bench.storage import write_text
from fusion_bench.study.cell_status import CellStatus
from fusion_bench.study.plan import file_name
from fusion_bench.training.config import DataConfig
from fusion_bench.training.inputs import open_data
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True)
class Author:
    """A finished cell and the name that its files get."""

    folder: CellFolder
    name: str


def authors_of(statuses: Iterable[CellStatus], runs: Path) -> tuple[Author, ...]:
    """Return the finished cells of a study, named by arm (`fusion_bench.study.plan.file_name`) and seed."""
    return tuple(
        Author(cell_folder(runs, status.cell.id), f"{file_name(status.cell.arm)}-seed{status.cell.seed}")
        for status in statuses
        if status.state == "done"
    )


def write_submissions(
    authors: Sequence[Author], config: DataConfig, paths: RunPaths, folder: Path
) -> tuple[Path, ...]:
    """Write one file per finished cell and split (evaluation splits and splits without published truth).

    Args:
        authors: finished cells on one data set.
        config: the data set.
        paths: where its files lie; they define the samples of a split and their order.
        folder: where to write.

    Raises:
        FusionBenchError: no cell is finished, the data set has no submission format, or a cell has no prediction for
            some sample of a split.
    """
    if not authors:
        raise FusionBenchError("no cell is done, so there are no predictions to submit; run the study first")
    data = open_data(config, paths)
    splits = [data.split(name) for name in (*data.splits.evaluate, *data.splits.predict)]
    written = []
    for author in authors:
        predictions = _predictions(author.folder)
        for split in splits:
            form = data.submission(split.name, _complete_predictions(split, predictions, author), author.name)
            if form is None:
                raise FusionBenchError(f"the publishers of {data.name} define no submission format")
            write_text(folder / form.file, form.text)
            written.append(folder / form.file)
    return tuple(written)


def _predictions(folder: CellFolder) -> Mapping[str, pd.Series[str]]:
    """Return the predictions by sample id, for each split."""
    outcome = folder.outcome()
    tables = [outcome.samples, *([outcome.predictions] if outcome.predictions is not None else [])]
    rows = pd.concat([table[["split", "sample", "prediction"]] for table in tables])
    return {str(name): own.set_index("sample")["prediction"] for name, own in rows.groupby("split")}


def _complete_predictions(
    split: Split, predictions: Mapping[str, pd.Series[str]], author: Author
) -> dict[str, str]:
    """Return the prediction for every sample of a split, in the order of the split."""
    samples = split.table["sample"]
    own = predictions.get(split.name, pd.Series(dtype=object))
    answered = int(samples.isin(own.index).sum())
    if answered < len(samples) or len(own) != len(samples):
        raise FusionBenchError(
            f"the cell {author.folder.id} answered {answered} of the {len(samples)} samples of {split.name!r}; a "
            "submission covers all of them (is it a cell of a smoke run, or trained before the data changed?)"
        )
    return dict(zip(samples, own.reindex(samples), strict=True))
