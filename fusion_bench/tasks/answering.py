"""Visual question answering as classification over the answers of the training split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Head
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.metric import Metric
from fusion_bench.samples.split import Split
from fusion_bench.tasks.task import HeadSettings, Stored, Targets, Task, judged

OUTSIDE = -1
"""Target of an answer that the training split does not hold: it can only be answered wrongly."""


class AnsweringHead(Head):
    """1x1 convolution, batch norm, ReLU; pooling over positions; a two-layer perceptron.

    The pooled map is ``[max; mean]`` by default (FiLM's classifier pools by max alone; both keep what a
    count and an existence question need). For the control that meets the sentence at the head, the
    sentence vector joins the pooled map.
    """

    def __init__(
        self,
        in_dim: int,
        outputs: int,
        sentence_dim: int = 0,
        *,
        hidden: int = 256,
        dropout: float = 0.0,
        pool: Literal["max_mean", "max", "mean"] = "max_mean",
    ) -> None:
        super().__init__()
        self.pool = pool
        self.stem = nn.Sequential(nn.Conv2d(in_dim, in_dim, 1, bias=False), nn.BatchNorm2d(in_dim), nn.ReLU())
        pooled = in_dim * (2 if pool == "max_mean" else 1)
        self.classify = nn.Sequential(
            nn.Linear(pooled + sentence_dim, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs),
        )

    def forward(self, fused: Tensor, sentence: Tensor | None) -> Tensor:
        """Fused map ``[B, in_dim, H, W]`` to logits ``[B, outputs]``."""
        positions = self.stem(fused).flatten(2)  # [B, C, H*W]
        pooled = {"max": (True, False), "mean": (False, True), "max_mean": (True, True)}[self.pool]
        parts = [positions.amax(2)] if pooled[0] else []
        parts += [positions.mean(2)] if pooled[1] else []
        parts += [sentence] if sentence is not None else []
        logits: Tensor = self.classify(torch.cat(parts, 1))  # [B, outputs]
        return logits


def accuracy(rows: pd.DataFrame) -> float:
    """Mean score over samples."""
    return float(rows["score"].mean())


def consistency(rows: pd.DataFrame) -> float:
    """Share of clusters in which every sample is right (NLVR: of sentence groups, all positions and orders)."""
    return float(rows.groupby("cluster")["score"].min().mean())


class Answering(Task):
    """Cross-entropy over the answers seen in training; accuracy by exact match."""

    name: ClassVar[str] = "answering"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric("accuracy", accuracy),
        "consistency": Metric("consistency", consistency),
    }

    heads: ClassVar[tuple[str, ...]] = ("pooled",)
    head_settings: ClassVar[frozenset[str]] = frozenset({"hidden", "dropout", "pool"})
    counted: ClassVar[str] = "answers, all from train"

    def __init__(self, train: Split, resizing: Resizing, head: str = "") -> None:
        del resizing, head
        self.answers: tuple[str, ...] = tuple(sorted(set(train.table["truth"])))
        self.outputs = len(self.answers)

    @classmethod
    def described(cls, head: str, settings: HeadSettings) -> str:
        """One sentence."""
        del head
        pool = settings.pool.replace("_", " and ")
        return f"1x1 convolution, batch norm, ReLU, {pool} pooling, perceptron of {settings.hidden}."

    def head(self, in_dim: int, sentence_dim: int, settings: HeadSettings) -> Head:
        """An `AnsweringHead` over the answers."""
        return AnsweringHead(
            in_dim,
            self.outputs,
            sentence_dim,
            hidden=settings.hidden,
            dropout=settings.dropout,
            pool=settings.pool,
        )

    def targets(self, split: Split) -> Targets:
        """Class index ``[N]``; `OUTSIDE` for an answer that training does not hold."""
        index = pd.Index(self.answers).get_indexer(pd.Index(split.table["truth"]))
        return Stored(torch.from_numpy(index.astype(np.int64)))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy; samples whose answer is outside the list carry no loss."""
        return F.cross_entropy(output.float(), target, ignore_index=OUTSIDE)

    def decide(self, output: Tensor) -> npt.NDArray[np.int64]:
        """Index of the most probable answer ``[B]``."""
        decided: npt.NDArray[np.int64] = output.argmax(1).cpu().numpy()
        return decided

    def probabilities(self, output: Tensor) -> Tensor:
        """How sure the head is of each answer ``[B, outputs]``."""
        return output.float().softmax(1)

    def judge(self, part: Split, output: Tensor) -> pd.DataFrame:
        """Score 1 where the most probable answer equals the truth."""
        rows = judged(part)
        rows["prediction"] = np.asarray(self.answers, dtype=object)[self.decide(output)]
        rows["score"] = (rows["prediction"] == rows["truth"]).astype(np.float64)
        return rows
