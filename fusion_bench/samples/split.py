"""One split of a data set, its samples, and batches of them."""

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
    """One question about one image, for showing to people."""

    id: str
    image: Path
    text: str
    truth: str


@dataclass(frozen=True, eq=False)
class Split:
    """One split of a data set, by column.

    Attributes:
        name: its name in the data set.
        table: one row per sample with ``sample`` (unique id), ``cluster`` (what is drawn together: the
            image, the sentence group), ``image`` (row in ``images``), ``text``, ``truth``, and one string
            column per entry of ``slices``; where several sentences speak of one thing, ``referent`` names it.
        images: files, each once.
        slices: columns of ``table`` by which results are broken down.
        referents: boxes and masks, in the order of ``table``; None where nothing is to be found in the image.
        answers: those that may be given, where the data set lists them; only the training split has them.
    """

    name: str
    table: pd.DataFrame
    images: tuple[Path, ...]
    slices: tuple[str, ...] = ()
    referents: Referents | None = None
    answers: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.table)

    def spread(self, samples: int) -> Split:
        """So many samples, spread evenly over the split, and the images that they are about."""
        return self.rows(np.linspace(0, len(self) - 1, min(samples, len(self))).round().astype(np.int64))

    def rows(self, chosen: npt.NDArray[np.int64]) -> Split:
        """The samples in these rows, in this order, and the images that they are about."""
        table = self.table.iloc[chosen].reset_index(drop=True)
        used = sorted(set(table["image"]))
        table["image"] = table["image"].map({old: new for new, old in enumerate(used)})
        images = tuple(self.images[number] for number in used)
        referents = None if self.referents is None else self.referents.of(chosen, used)
        return Split(self.name, table, images, self.slices, referents, self.answers)

    def sample(self, row: int) -> Sample:
        """The sample in ``row``."""
        record = self.table.iloc[row]
        return Sample(record["sample"], self.images[record["image"]], record["text"], record["truth"])


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples on their way through a model.

    Attributes:
        visual: images ``[B, 3, H, W]``, normalised, or cached backbone maps ``[B, C, h, w]``.
        tokens: ``[B, T]`` word ids, or ``[B, T, E]`` cached vectors of a frozen text encoder; ``mask``:
            ``[B, T]``, True at real words.
        target: what the task wants, by its own definition (answering: class index ``[B]``, -1 for an
            answer outside the list).
    """

    visual: Tensor
    tokens: Tensor
    mask: Tensor
    target: Tensor
