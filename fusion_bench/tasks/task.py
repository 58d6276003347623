"""What the training loop asks of a task: a head, targets, a loss, and rows that metrics are computed from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import pandas as pd
from torch import Tensor

from fusion_bench.contract import Head
from fusion_bench.samples.dataset import DataSet, WordingFloor
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.metric import Metric
from fusion_bench.samples.split import Split


class Targets(Protocol):
    """A split's targets, gathered when a batch wants them: what is large lies here in whatever form is small."""

    def rows(self, chosen: Tensor) -> Tensor:
        """The targets ``[B, ...]`` of the samples ``chosen`` (``[B]`` int64), on the CPU as they are."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Targets that are small enough to lie in memory as they are, ``[N, ...]``."""

    values: Tensor

    def rows(self, chosen: Tensor) -> Tensor:
        """Gathered by row."""
        return self.values[chosen]


@dataclass(frozen=True)
class HeadSettings:
    """What a study may set of a head; a task says which of them its heads know (`Task.head_settings`)."""

    hidden: int = 256
    dropout: float = 0.0
    pool: Literal["max_mean", "max", "mean"] = "max_mean"


class Task(ABC):
    """Constructed from the training split, from which it learns what can be answered.

    Class attributes:
        metrics: by name; a data set says which of them it wants.
        heads: kinds of head with their losses, the default first.
        head_settings: fields of `HeadSettings` that the heads know.
        measures: columns of numbers that `judge` adds to the rows beside ``score``, for metrics to be computed
            from.
        counted: what ``outputs`` is the number of, for a report ("answers, all from train"); empty: not worth
            a word.
        shows: what ``prediction`` and ``truth`` of the rows hold, for pictures: plain text, a box
            ``x1 y1 x2 y2`` in pixels of the original image, or a mask as COCO's compressed run lengths. With
            boxes and masks there is a measure ``iou``.
        network_map: which map of an end-to-end network the head reads.

    Args:
        train: the training split.
        resizing: how pictures come to the network's input, for what lies in them.
        head: one of ``heads``; the first if empty. The loss may go by it.
    """

    name: ClassVar[str]
    metrics: ClassVar[Mapping[str, Metric]]
    heads: ClassVar[tuple[str, ...]]
    head_settings: ClassVar[frozenset[str]]
    measures: ClassVar[tuple[str, ...]] = ()
    counted: ClassVar[str] = ""
    shows: ClassVar[Literal["text", "box", "mask"]] = "text"
    network_map: ClassVar[Literal["coarsest", "finest"]] = "coarsest"

    outputs: int

    @abstractmethod
    def __init__(self, train: Split, resizing: Resizing, head: str = "") -> None: ...

    @classmethod
    def sliced(cls, split: Split) -> Split:
        """The split with the slices that follow from the task itself, beside the data set's own."""
        return split

    @classmethod
    def remarks(cls, train: Split, other: Split) -> str:
        """What a reader must know of what can be right on ``other`` after ``train``; empty: nothing."""
        del train, other
        return ""

    @classmethod
    def floor(cls, data: DataSet, train: Split, other: Split) -> WordingFloor | None:
        """What a constant prediction fitted on ``train`` reaches on ``other``; the data set's if it has one."""
        return data.floor(train, other)

    @classmethod
    @abstractmethod
    def described(cls, head: str, settings: HeadSettings) -> str:
        """A head in one sentence, for a report; ``head`` as in the constructor."""

    @abstractmethod
    def head(self, in_dim: int, sentence_dim: int, settings: HeadSettings) -> Head:
        """The head that every arm gets."""

    @abstractmethod
    def targets(self, split: Split) -> Targets:
        """One target per sample, in the order of ``split.table``."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch."""

    @abstractmethod
    def judge(self, part: Split, output: Tensor) -> pd.DataFrame:
        """Rows for ``samples.parquet``, in the order of ``part``: a batch of a split and the head's output for it.

        Columns: those of `judged`, then ``prediction`` (text), ``score`` in [0, 1], and the task's measures.
        """


def judged(part: Split) -> pd.DataFrame:
    """What rows begin with: split, sample, cluster, the slices and truth."""
    rows = part.table[["sample", "cluster", *part.slices, "truth"]].copy()
    rows.insert(0, "split", part.name)
    return rows
