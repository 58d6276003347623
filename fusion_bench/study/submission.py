"""What finished cells said, in the form that a data set's publishers judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.samples.split import Split
from fusion_bench.storage import write_text
from fusion_bench.study.plan import CellStatus
from fusion_bench.training.config import DataConfig
from fusion_bench.training.inputs import open_data
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True)
class Author:
    """A finished cell and the name that its files bear."""

    folder: CellFolder
    name: str


def authors_of(statuses: Iterable[CellStatus], runs: Path) -> tuple[Author, ...]:
    """The done cells of a study, named by arm and seed; whatever a file name cannot hold is percent-encoded."""
    return tuple(
        Author(
            cell_folder(runs, status.cell.id),
            f"{quote(status.cell.arm, safe='')}-seed{status.cell.seed}",
        )
        for status in statuses
        if status.state == "done"
    )


def write_submissions(
    authors: Sequence[Author], config: DataConfig, paths: RunPaths, folder: Path
) -> tuple[Path, ...]:
    """One file per finished cell and split: the evaluation splits, and those whose truth is not published.

    Args:
        authors: finished cells on one data set.
        config: that data set.
        paths: where its files lie; they say which samples a split has, and in which order.
        folder: where to write.

    Raises:
        FusionBenchError: no cell is finished, the data set has no form for submissions, or a cell did not answer
            every sample of a split.
    """
    if not authors:
        raise FusionBenchError("no cell is done, so there is nothing to hand in; run the study first")
    data = open_data(config, paths)
    splits = [data.split(name) for name in (*data.splits.evaluate, *data.splits.predict)]
    written = []
    for author in authors:
        said = _said(author.folder)
        for split in splits:
            form = data.submission(split.name, _covering(split, said, author), author.name)
            if form is None:
                raise FusionBenchError(f"{data.name} has no form in which its publishers take answers")
            write_text(folder / form.file, form.text)
            written.append(folder / form.file)
    return tuple(written)


def _said(folder: CellFolder) -> Mapping[str, pd.Series[str]]:
    """Predictions by sample, of each split."""
    outcome = folder.outcome()
    tables = [outcome.samples, *([outcome.predictions] if outcome.predictions is not None else [])]
    rows = pd.concat([table[["split", "sample", "prediction"]] for table in tables])
    return {str(name): own.set_index("sample")["prediction"] for name, own in rows.groupby("split")}


def _covering(split: Split, said: Mapping[str, pd.Series[str]], author: Author) -> dict[str, str]:
    """What was said of every sample of a split, in the split's order."""
    samples = split.table["sample"]
    own = said.get(split.name, pd.Series(dtype=object))
    answered = int(samples.isin(own.index).sum())
    if answered < len(samples) or len(own) != len(samples):
        raise FusionBenchError(
            f"the cell {author.folder.id} answered {answered} of the {len(samples)} samples of {split.name!r}; a "
            "submission covers all of them (is it a cell of a smoke run, or trained before the data changed?)"
        )
    return dict(zip(samples, own.reindex(samples), strict=True))
