"""One split of a data set, one of its samples, and a batch of samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from fusion_bench.samples.geometry import Referents


@dataclass(frozen=True)
class Sample:
    """One text about one image, for display."""

    id: str
    image: Path
    text: str
    truth: str


@dataclass(frozen=True, eq=False)
class Split:
    """One split of a data set, stored by column.

    Attributes:
        name: name of the split in the data set.
        table: one row per sample with the columns ``sample`` (unique id), ``cluster`` (the unit in which samples
            are drawn: the image, the sentence group), ``image`` (row in ``images``), ``text``, ``truth``, and one
            string column per entry of ``slices``; ``referent`` identifies the object where several sentences refer
            to one object.
        images: the image files, each listed once.
        slices: columns of ``table`` by which results are broken down.
        referents: boxes and masks in the order of ``table``; None if the task is not to find an object.
        answers: the answers that a model may give, if the data set lists them; only the training split has them.
    """

    name: str
    table: pd.DataFrame
    images: tuple[Path, ...]
    slices: tuple[str, ...] = ()
    referents: Referents | None = None
    answers: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.table)

    def evenly_spaced(self, samples: int) -> Split:
        """Return at most ``samples`` samples, evenly spaced over the split, and only their images."""
        return self.rows(np.linspace(0, len(self) - 1, min(samples, len(self))).round().astype(np.int64))

    def rows(self, chosen: npt.NDArray[np.int64]) -> Split:
        """Return the samples in the rows ``chosen`` ``[N]``, in that order, and only their images."""
        table = self.table.iloc[chosen].reset_index(drop=True)
        used = sorted(set(table["image"]))
        table["image"] = table["image"].map({old: new for new, old in enumerate(used)})
        images = tuple(self.images[number] for number in used)
        referents = None if self.referents is None else self.referents.subset(chosen, used)
        return Split(self.name, table, images, self.slices, referents, self.answers)

    def sample(self, row: int) -> Sample:
        """Return the sample in ``row``."""
        record = self.table.iloc[row]
        return Sample(record["sample"], self.images[record["image"]], record["text"], record["truth"])


@dataclass(frozen=True, eq=False)
class Batch:
    """The input of a model for ``B`` samples.

    Attributes:
        visual: normalised images ``[B, 3, H, W]``, or cached backbone maps ``[B, C, h, w]``.
        tokens: word ids ``[B, T]``, or cached vectors ``[B, T, E]`` of a frozen text encoder.
        mask: ``[B, T]`` bool, True at real words.
        target: the targets as the task defines them (answering: class index ``[B]``, -1 for an answer outside
            the list).
    """

    visual: Tensor
    tokens: Tensor
    mask: Tensor
    target: Tensor
