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
from fusion_bench.tasks.task import HeadSettings, Targets, Task, TensorTargets, base_rows

UNKNOWN_ANSWER = -1
"""Target of an answer that does not occur in the training split; no prediction can be right for it."""


class AnsweringHead(Head):
    """The answering head: 1x1 convolution, batch norm, ReLU, pooling over positions, two-layer perceptron.

    The pooled vector is ``[max; mean]`` by default: the mean keeps the evidence for counting questions, the max
    that for existence questions (FiLM's classifier uses the max only). For the control arm ``late_concat``, the
    sentence vector is concatenated to the pooled vector.

    Args:
        in_dim: channels of the fused map.
        outputs: number of answers.
        sentence_dim: channels of the sentence vector; 0 for none.
        hidden: width of the perceptron.
        dropout: dropout rate before the last layer.
        pool: pooling over positions.
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
        """Return logits ``[B, outputs]``.

        Args:
            fused: the fused map ``[B, in_dim, H, W]``.
            sentence: the sentence vector ``[B, sentence_dim]`` or None.
        """
        # Positions stand before channels, as in memory for `channels_last`. The maximum is taken by its index: the
        # gradient of `amax`, which is shared by equal values, takes several passes.
        positions = self.stem(fused).permute(0, 2, 3, 1).flatten(1, 2)  # [B, H*W, C]
        pooled = {"max": (True, False), "mean": (False, True), "max_mean": (True, True)}[self.pool]
        parts = [positions.max(1).values] if pooled[0] else []
        parts += [positions.mean(1)] if pooled[1] else []
        parts += [sentence] if sentence is not None else []
        logits: Tensor = self.classify(torch.cat(parts, 1))  # [B, outputs]
        return logits


def accuracy(rows: pd.DataFrame) -> float:
    """Return the mean score over samples."""
    return float(rows["score"].mean())


def consistency(rows: pd.DataFrame) -> float:
    """Return the share of clusters in which every sample is right.

    A cluster of NLVR is a sentence group with all its images and box orders.
    """
    return float(rows.groupby("cluster")["score"].min().mean())


class Answering(Task):
    """Classification over the answers of the training split with cross-entropy; accuracy by exact match."""

    name: ClassVar[str] = "answering"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric("accuracy", accuracy),
        "consistency": Metric("consistency", consistency),
    }

    heads: ClassVar[tuple[str, ...]] = ("pooled",)
    head_settings: ClassVar[frozenset[str]] = frozenset({"hidden", "dropout", "pool"})
    outputs_label: ClassVar[str] = "answers, all from train"

    def __init__(self, train: Split, resizing: Resizing, head: str = "") -> None:
        del resizing, head
        self.answers: tuple[str, ...] = tuple(sorted(set(train.table["truth"])))
        self.outputs = len(self.answers)

    @classmethod
    def describe_head(cls, head: str, settings: HeadSettings) -> str:
        """Return one sentence that describes the head."""
        del head
        pool = settings.pool.replace("_", " and ")
        return f"1x1 convolution, batch norm, ReLU, {pool} pooling, perceptron of {settings.hidden}."

    def head(self, in_dim: int, sentence_dim: int, settings: HeadSettings) -> Head:
        """Return an `AnsweringHead` with one output per answer."""
        return AnsweringHead(
            in_dim,
            self.outputs,
            sentence_dim,
            hidden=settings.hidden,
            dropout=settings.dropout,
            pool=settings.pool,
        )

    def targets(self, split: Split) -> Targets:
        """Return class indices ``[N]`` int64; `UNKNOWN_ANSWER` for an answer that does not occur in training."""
        index = pd.Index(self.answers).get_indexer(pd.Index(split.table["truth"]))
        return TensorTargets(torch.from_numpy(index.astype(np.int64)))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy over the samples whose answer is in the list; the others have no loss.

        Args:
            output: logits ``[B, outputs]``.
            target: class indices ``[B]``.
        """
        return F.cross_entropy(output.float(), target, ignore_index=UNKNOWN_ANSWER)

    def decide(self, output: Tensor) -> npt.NDArray[np.int64]:
        """Return the index of the most probable answer ``[B]`` for logits ``[B, outputs]``."""
        indices: npt.NDArray[np.int64] = output.argmax(1).cpu().numpy()
        return indices

    def probabilities(self, output: Tensor) -> Tensor:
        """Return the softmax probability of each answer ``[B, outputs]`` for logits ``[B, outputs]``."""
        return output.float().softmax(1)

    def score_rows(self, part: Split, output: Tensor) -> pd.DataFrame:
        """Return rows whose score is 1 where the most probable answer equals the truth, else 0."""
        rows = base_rows(part)
        rows["prediction"] = np.asarray(self.answers, dtype=object)[self.decide(output)]
        rows["score"] = (rows["prediction"] == rows["truth"]).astype(np.float64)
        return rows
