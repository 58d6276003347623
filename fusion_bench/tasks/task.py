"""The task interface: a head, targets, a loss, and the rows from which metrics are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from fusion_bench.contract import Head
from fusion_bench.samples.dataset import DataSet, WordingFloor
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.metric import Metric
from fusion_bench.samples.split import Split


class Targets(Protocol):
    """The targets of a split, gathered per batch; an implementation may store large targets in a compact form."""

    def rows(self, chosen: Tensor) -> Tensor:
        """Return the targets ``[B, ...]`` of the samples ``chosen`` (``[B]`` int64), on the CPU."""


@runtime_checkable
class MovableTargets(Targets, Protocol):
    """Targets that may lie on a GPU as a whole; ``rows`` then takes and returns tensors there."""

    def to(self, device: torch.device) -> Targets:
        """Return the targets on ``device``."""


@dataclass(frozen=True, eq=False)
class TensorTargets:
    """Targets ``[N, ...]`` that are small enough to be kept in memory as one tensor."""

    values: Tensor

    def rows(self, chosen: Tensor) -> Tensor:
        """Return the rows ``chosen`` ``[B]``: ``[B, ...]``."""
        return self.values[chosen]

    def to(self, device: torch.device) -> TensorTargets:
        """Return the targets on ``device``."""
        return TensorTargets(self.values.to(device))


@dataclass(frozen=True)
class HeadSettings:
    """The settings of a head that a study may write; `Task.head_settings` lists those that a task's heads use.

    Attributes:
        hidden: channels of the hidden layer.
        dropout: dropout rate before the last layer.
        pool: pooling over positions.
    """

    hidden: int = 256
    dropout: float = 0.0
    pool: Literal["max_mean", "max", "mean"] = "max_mean"


@dataclass(frozen=True, eq=False)
class SampleCheck:
    """The samples of a split of ``N`` that a task cannot use.

    Attributes:
        left_out: ``[N]`` bool by reason (a kind of `CellData.data_warnings`), True for samples that are left out.
        counts: numbers of further samples that a report must state, by kind.
        problem: a sentence about the first sample that is left out; empty if the reason says it all.
    """

    left_out: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""


class Task(ABC):
    """The base class of tasks. A task is constructed from the training split, which defines the possible outputs.

    Class attributes:
        name: the registered name.
        metrics: the metrics by name; a data set lists those that it uses.
        heads: the kinds of head, each with its loss, the default first.
        head_settings: fields of `HeadSettings` that the heads use.
        measures: numeric columns that `score_rows` adds beside ``score``, from which metrics are computed.
        outputs_label: noun phrase for the number ``outputs`` in a report ("answers, all from train"); empty if a
            report does not mention the number.
        shows: the content of ``prediction`` and ``truth`` in the rows: plain text, a box ``x1 y1 x2 y2`` in pixels
            of the original image, or a mask as COCO's compressed run lengths. Tasks with boxes or masks have a
            measure ``iou``.
        network_map: the map of an end-to-end network that the head reads.

    Attributes:
        outputs: number of outputs of the head.

    Args:
        train: the training split.
        resizing: how images are resized to the network's input; needed for boxes and masks.
        head: one of ``heads``; the default if empty. The loss may depend on it.
    """

    name: ClassVar[str]
    metrics: ClassVar[Mapping[str, Metric]]
    heads: ClassVar[tuple[str, ...]]
    head_settings: ClassVar[frozenset[str]]
    measures: ClassVar[tuple[str, ...]] = ()
    outputs_label: ClassVar[str] = ""
    shows: ClassVar[Literal["text", "box", "mask"]] = "text"
    network_map: ClassVar[Literal["coarsest", "finest"]] = "coarsest"

    outputs: int

    @abstractmethod
    def __init__(self, train: Split, resizing: Resizing, head: str = "") -> None: ...

    @classmethod
    def check_samples(cls, split: Split) -> SampleCheck:
        """Return which samples the task cannot use; by default it uses all of them."""
        del split
        return SampleCheck()

    @classmethod
    def add_slices(cls, split: Split) -> Split:
        """Return the split with the slices that the task defines, in addition to those of the data set."""
        return split

    @classmethod
    def remarks(cls, train: Split, other: Split) -> str:
        """Return sentences about the reachable score on ``other`` after training on ``train``; may be empty."""
        del train, other
        return ""

    @classmethod
    def floor(cls, data: DataSet, train: Split, other: Split) -> WordingFloor | None:
        """Return the score on ``other`` of a constant prediction fitted on ``train``; None if none is defined.

        By default this is the data set's own floor.
        """
        return data.floor(train, other)

    @classmethod
    @abstractmethod
    def describe_head(cls, head: str, settings: HeadSettings) -> str:
        """Return one sentence that describes the head, for a report; ``head`` as in the constructor."""

    @abstractmethod
    def head(self, in_dim: int, sentence_dim: int, settings: HeadSettings) -> Head:
        """Return a new head; every arm of a study gets the same one.

        Args:
            in_dim: channels of the fused map.
            sentence_dim: channels of the sentence vector that the head receives; 0 for none.
            settings: the study's settings.
        """

    @abstractmethod
    def targets(self, split: Split) -> Targets:
        """Return one target per sample, in the order of ``split.table``."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of a batch: the head's output and the targets of `targets`, both ``[B, ...]``."""

    @abstractmethod
    def score_rows(self, part: Split, output: Tensor) -> pd.DataFrame:
        """Evaluate a batch and return its rows of ``samples.parquet``, in the order of ``part``.

        Args:
            part: ``B`` samples of a split.
            output: the head's output for them, ``[B, ...]``.

        Returns:
            The columns of `base_rows`, then ``prediction`` (text), ``score`` in [0, 1] and the task's measures.
        """


def base_rows(part: Split) -> pd.DataFrame:
    """Return the first columns of the rows: split, sample, cluster, the slices and truth."""
    rows = part.table[["sample", "cluster", *part.slices, "truth"]].copy()
    rows.insert(0, "split", part.name)
    return rows
