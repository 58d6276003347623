"""The training loop: it trains a model, keeps the best weights on the selection split and evaluates them."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from fusion_bench.errors import CellFailure
from fusion_bench.samples.split import Split
from fusion_bench.training.batches import BatchLoader, steps_per_epoch
from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import CellConfig
from fusion_bench.training.model import FusionModel, assemble, chosen_precision
from fusion_bench.training.optim import MovingAverage, learning_rate, make_optimizer
from fusion_bench.training.seeds import seeded_rng
from fusion_bench.training.text_encoder import build_text_encoder

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Progress:
    """The state of training after one epoch.

    Attributes:
        epoch: the number of the finished epoch, from 1.
        epochs: the number of epochs that the cell asks for.
        quantity: the name of the selection metric: ``select/<metric>``.
        value: its value after this epoch.
        seconds_left: estimated seconds until the last epoch ends.
    """

    epoch: int
    epochs: int
    quantity: str
    value: float
    seconds_left: float


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


def build_model(config: CellConfig, cell_data: CellData) -> FusionModel:
    """Return the cell's model with its initial weights and its own copy of the backbone."""
    return assemble(
        config,
        cell_data.task,
        text=build_text_encoder(config, cell_data.vocabulary, cell_data.files),
        map_channels=cell_data.map_shape[0],
        backbone=copy.deepcopy(cell_data.backbone),
    )


class Trainer:
    """Trains one cell.

    Args:
        config: the settings of the cell.
        cell_data: the data, the vocabulary and the initial backbone.
        device: the device that computes.
        on_epoch: called after each epoch.
        start: the trained state of a model to start from; None starts from the initial weights.
    """

    def __init__(
        self,
        config: CellConfig,
        cell_data: CellData,
        device: torch.device,
        on_epoch: Callable[[Progress], None],
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.config, self.cell_data, self.device, self._on_epoch = config, cell_data, device, on_epoch
        self.model = build_model(config, cell_data)
        if start is not None:
            self.model.load_state_dict(start)
        self.model.to(device)
        self._optimizer = make_optimizer(self.model, config.train)
        decay = config.train.ema
        self._average = None if decay is None else MovingAverage(self.model, decay)
        self._loaders = {
            name: BatchLoader(encoded, cell_data, device) for name, encoded in cell_data.encoded.items()
        }
        self._metric = cell_data.metrics[0]
        self._one_per_referent = config.train.one_expression_per_referent
        train = self._loaders[cell_data.splits.train]
        samples = train.samples_per_epoch(one_per_referent=self._one_per_referent)
        per_epoch = steps_per_epoch(samples, config.train.batch_size)
        self._steps = per_epoch * config.train.epochs
        self._step = 0
        self._curves: list[tuple[int, int, str, float]] = []

    def train(self) -> TrainingResult:
        """Train the model, restore its best weights and evaluate them.

        Raises:
            CellFailure: the loss, or an output that is evaluated, is not finite.
        """
        began = time.monotonic()
        best_value, best_epoch, best_state, epoch = -math.inf, 0, {}, 0
        with seeded_rng("dropout", self.config.seed):
            for epoch in range(1, self.config.train.epochs + 1):
                self._run_epoch(epoch)
                value = self._evaluate_selection(epoch)
                if value > best_value:
                    best_value, best_epoch = value, epoch
                    best_state = copy.deepcopy(self._evaluated_model.state_dict())
                left = (time.monotonic() - began) / epoch * (self.config.train.epochs - epoch)
                self._on_epoch(Progress(epoch, self.config.train.epochs, self._quantity, value, left))
                patience = self.config.train.patience
                if patience is not None and epoch - best_epoch >= patience:
                    break
        if self.config.train.epochs:
            self.model.load_state_dict(best_state)
        else:  # the weights that the cell starts from are evaluated without training
            self._evaluate_selection(0)
        self._average = None  # from here on the kept weights are in the model itself
        trained = time.monotonic()
        samples = self._evaluate_samples()
        return TrainingResult(
            samples=samples,
            predictions=self._predict_samples(),
            curves=pd.DataFrame(self._curves, columns=["epoch", "samples_seen", "quantity", "value"]),
            metrics=self._metrics(samples),
            epochs=epoch,
            best_epoch=best_epoch,
            seconds=trained - began,
            evaluation_seconds=time.monotonic() - trained,
            model=self.model,
        )

    @property
    def _evaluated_model(self) -> FusionModel:
        """The moving average of the model, or the model itself without one."""
        if self._average is None:
            return self.model
        assert isinstance(self._average.model, FusionModel)  # noqa: S101 - a copy of the model
        return self._average.model

    @property
    def _quantity(self) -> str:
        return f"select/{self._metric}"

    def _autocast(self) -> AbstractContextManager[object]:
        if chosen_precision(self.config, self.device) == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _run_epoch(self, epoch: int) -> None:
        self.model.train()
        settings, task = self.config.train, self.cell_data.task
        losses: list[Tensor] = []
        loader = self._loaders[self.cell_data.splits.train]
        batches = loader.epoch(
            epoch, self.config.seed, settings.batch_size, one_per_referent=self._one_per_referent
        )
        for batch in batches:
            rate = learning_rate(self._step, self._steps, settings)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            with self._autocast():
                loss = task.loss(self.model(batch), batch.target)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
            self._optimizer.step()
            if self._average is not None:
                self._average.update(self.model)
            losses.append(loss.detach())
            self._step += 1
            # Reading the loss waits for the GPU, so it is checked at the first steps and then at every 50th only.
            if self._step % 50 == 0 or self._step <= 2:
                self._check_loss(losses, epoch)
        self._check_loss(losses, epoch)
        seen = self._step * settings.batch_size
        self._curves.append((epoch, seen, "train/loss", float(torch.stack(losses).mean())))
        self._curves.append((epoch, seen, "learning_rate", rate))

    def _check_loss(self, losses: list[Tensor], epoch: int) -> None:
        if not bool(torch.isfinite(losses[-1])):
            raise CellFailure(
                f"the loss was not finite by step {self._step} (epoch {epoch}); try a lower learning rate, or check "
                "the module for divisions by zero and square roots at zero"
            )

    def _evaluate_selection(self, epoch: int) -> float:
        rows = self._evaluate(self.cell_data.splits.select)
        value = self.cell_data.task.metrics[self._metric].compute(rows)
        self._curves.append((epoch, self._step * self.config.train.batch_size, self._quantity, value))
        return value

    @torch.no_grad()
    def _evaluate(self, split: str) -> pd.DataFrame:
        """Return the rows of a split, scored batch by batch because outputs may be large (masks).

        Raises:
            CellFailure: an output is not finite. The most probable answer among NaN would be the first of the list.
        """
        model = self._evaluated_model.eval()
        rows = []
        for part, batch in self._loaders[split].in_order(EVALUATION_BATCH):
            with self._autocast():
                output = model(batch)
            _check_output(output, part)
            rows.append(self.cell_data.task.score_rows(part, output))
        return pd.concat(rows, ignore_index=True)

    def _evaluate_samples(self) -> pd.DataFrame:
        names = [self.cell_data.splits.select]
        if self.config.evaluate:
            names += self.cell_data.splits.evaluate
        return pd.concat([self._evaluate(name) for name in names], ignore_index=True)

    def _predict_samples(self) -> pd.DataFrame | None:
        """Return the predictions on the splits without a published truth; None if there are none."""
        names = self.cell_data.splits.predict if self.config.evaluate else ()
        rows = [self._evaluate(name)[["split", "sample", "prediction"]] for name in names]
        return pd.concat(rows, ignore_index=True) if rows else None

    def _metrics(self, samples: pd.DataFrame) -> dict[str, float]:
        metrics = [self.cell_data.task.metrics[name] for name in self.cell_data.metrics]
        return {
            f"{split}/{metric.name}": metric.compute(rows)
            for split, rows in samples.groupby("split", sort=True)
            for metric in metrics
        }


def _check_output(output: Tensor, part: Split) -> None:
    """Raise an error that names the first sample of ``part`` whose output in ``[B, ...]`` is NaN or infinite."""
    finite = torch.isfinite(output).flatten(1).all(1)  # [B]
    if not bool(finite.all()):
        bad = (~finite).nonzero()[:, 0].tolist()
        first = str(part.table["sample"].iloc[bad[0]])
        raise CellFailure(
            f"the output was not finite for {len(bad)} of {len(finite)} samples of a batch of the split "
            f"{part.name!r}, the first of them {first!r}; check what the module does in evaluation (model.eval()): "
            "divisions by zero, square roots at zero, running statistics"
        )
