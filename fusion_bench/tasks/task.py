"""What the training loop asks of a task: a head, targets, a loss, and rows that metrics are computed from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from fusion_bench.contract import Head
from fusion_bench.samples import Metric, Split


class Task(ABC):
    """Constructed from the training split, from which it learns what can be answered."""

    name: ClassVar[str]
    metrics: ClassVar[Mapping[str, Metric]]

    outputs: int

    @abstractmethod
    def __init__(self, train: Split) -> None: ...

    @abstractmethod
    def head(self, in_dim: int, sentence_dim: int, *, hidden: int, dropout: float, pool: str) -> Head:
        """The head that every arm gets."""

    @abstractmethod
    def targets(self, split: Split) -> Tensor:
        """One target per sample, in the order of ``split.table``."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch."""

    @abstractmethod
    def decide(self, output: Tensor) -> npt.NDArray[np.int64]:
        """The index of each sample's decision, from the head's output."""

    @abstractmethod
    def judge(self, split: Split, decisions: npt.NDArray[np.int64]) -> pd.DataFrame:
        """Rows for ``samples.parquet``: the split's columns with ``prediction`` and ``score`` in [0, 1]."""
