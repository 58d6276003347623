"""The result of training one cell."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from fusion_bench.training.model import FusionModel


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The result of training one cell.

    Attributes:
        samples: one row per evaluated sample of the selection split and, unless the cell belongs to a search, of the
            evaluation splits.
        predictions: the columns ``split``, ``sample`` and ``prediction`` for the splits whose truth is not
            published; None if there are no such splits.
        curves: one row per epoch and quantity with the columns ``epoch``, ``samples_seen``, ``quantity``, ``value``.
        metrics: values computed from ``samples``, by ``<split>/<metric>``.
        epochs: number of epochs that were trained.
        best_epoch: the epoch whose weights were kept; 0 for the weights that the cell starts from.
        seconds: wall-clock seconds of training.
        evaluation_seconds: wall-clock seconds of the final evaluation.
        model: the trained model with the kept weights.
    """

    samples: pd.DataFrame
    predictions: pd.DataFrame | None
    curves: pd.DataFrame
    metrics: dict[str, float]
    epochs: int
    best_epoch: int
    seconds: float
    evaluation_seconds: float
    model: FusionModel
