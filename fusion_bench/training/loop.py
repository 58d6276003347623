"""The training loop: it trains a model, keeps the best weights on the selection split and evaluates them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from fusion_bench.samples.split import Batch
from fusion_bench.training.batches import BatchLoader, steps_per_epoch
from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import CellConfig
from fusion_bench.training.fit.compiled import CompiledForward
from fusion_bench.training.fit.evaluation import Evaluator
from fusion_bench.training.fit.losses import EpochLosses
from fusion_bench.training.fit.position import Checkpoints, Position, load_model_state, model_state
from fusion_bench.training.fit.result import TrainingResult
from fusion_bench.training.fit.step_done import OnStep, StepDone
from fusion_bench.training.model import FusionModel, assemble, autocast
from fusion_bench.training.optim import MovingAverage, learning_rate, make_optimizer
from fusion_bench.training.seeds import random_state, seeded_rng, set_random_state
from fusion_bench.training.text_encoder import build_text_encoder


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
        on_step: called after each batch that is trained or evaluated, without waiting for a GPU; None calls nothing.
        checkpoints: takes the state of the training from time to time; None takes none.
    """

    def __init__(
        self,
        config: CellConfig,
        cell_data: CellData,
        device: torch.device,
        on_epoch: Callable[[Progress], None],
        start: Mapping[str, Tensor] | None = None,
        *,
        on_step: OnStep | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.config, self.cell_data, self.device = config, cell_data, device
        self._on_epoch, self._on_step, self._checkpoints = on_epoch, on_step, checkpoints
        self.model = build_model(config, cell_data)
        if start is not None:
            self.model.load_state_dict(start)
        self.model.to(device)
        self._optimizer = make_optimizer(self.model, config.train)
        decay = config.train.ema
        self._average = None if decay is None else MovingAverage(self.model, decay)
        compiled = config.train.compile != "none"
        self._forward = CompiledForward(self.model, config) if compiled else self.model
        loaders = {
            name: BatchLoader(
                encoded, cell_data, device, equal_shapes=compiled and name == cell_data.splits.train
            )
            for name, encoded in cell_data.encoded.items()
        }
        self._loader = loaders[cell_data.splits.train]
        self._evaluator = Evaluator(config, cell_data, loaders, device, on_step)
        self._quantity = f"select/{cell_data.metrics[0]}"
        samples = self._loader.samples_per_epoch(one_per_referent=config.train.one_expression_per_referent)
        self._steps_per_epoch = steps_per_epoch(samples, config.train.batch_size)
        self._steps = self._steps_per_epoch * config.train.epochs
        self._losses = EpochLosses(self._steps_per_epoch, device)
        self._position = Position()
        self._random: Mapping[str, Any] | None = None
        self._began = 0.0

    def train(self) -> TrainingResult:
        """Train the model, restore its best weights and evaluate them.

        Raises:
            CellFailure: the loss, or an output that is evaluated, is not finite.
        """
        position, epochs = self._position, self.config.train.epochs
        self._began = time.monotonic() - position.seconds
        with seeded_rng("dropout", self.config.seed):
            if self._random is not None:
                set_random_state(self._random)
            while not self._is_over():
                epoch = position.epochs + 1
                self._run_epoch(epoch)
                value = self._evaluate_selection(epoch)
                position.end_epoch(value, self._evaluated_model)
                left = (time.monotonic() - self._began) / epoch * (epochs - epoch)
                self._on_epoch(Progress(epoch, epochs, self._quantity, value, left))
                self._write_checkpoint()
        if epochs:
            self.model.load_state_dict(position.best_state)
        else:  # the weights that the cell starts from are evaluated without training
            self._evaluate_selection(0)
        self._average = None  # from here on the kept weights are in the model itself
        trained = time.monotonic()
        samples = self._evaluator.samples(self.model)
        return TrainingResult(
            samples=samples,
            predictions=self._evaluator.predictions(self.model),
            curves=pd.DataFrame(position.curves, columns=["epoch", "samples_seen", "quantity", "value"]),
            metrics=self._evaluator.metrics(samples),
            epochs=position.epochs,
            best_epoch=position.best_epoch,
            seconds=trained - self._began,
            evaluation_seconds=time.monotonic() - trained,
            model=self.model,
        )

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on, as tensors and plain values.

        It is the state of the training loop, not a copy of it: write it before the next step. A module's state
        counts as far as it is in parameters, buffers or ``get_extra_state``.
        """
        self._position.seconds = time.monotonic() - self._began
        average = self._average
        return {
            "model": model_state(self.model),
            "average": None if average is None else (average.updates, model_state(average.model)),
            "optimizer": self._optimizer.state_dict(),
            "position": self._position.state(),
            "losses": self._losses.values,
            "random": random_state(),
        }

    def resume(self, state: Mapping[str, Any]) -> int:
        """Continue from a state that `state` returned, on the same kind of device; return its step.

        Raises:
            Exception: the state is of another model or of another shape; this trainer is then of no use.
        """
        load_model_state(self.model, state["model"])
        if self._average is not None:
            self._average.updates, averaged = state["average"]
            load_model_state(self._average.model, averaged)
        self._optimizer.load_state_dict(state["optimizer"])
        self._losses.values.copy_(state["losses"])
        self._position = Position(**state["position"])
        self._random = state["random"]
        return self._step

    @property
    def _step(self) -> int:
        """The number of steps so far."""
        return self._position.epochs * self._steps_per_epoch + self._position.steps_in_epoch

    def _is_over(self) -> bool:
        patience, position = self.config.train.patience, self._position
        return position.epochs >= self.config.train.epochs or (
            patience is not None and position.epochs - position.best_epoch >= patience
        )

    @property
    def _evaluated_model(self) -> FusionModel:
        """The moving average of the model, or the model itself without one."""
        if self._average is None:
            return self.model
        assert isinstance(self._average.model, FusionModel)  # noqa: S101 - a copy of the model
        return self._average.model

    def _run_epoch(self, epoch: int) -> None:
        self.model.train()
        settings, position = self.config.train, self._position
        batches = self._loader.epoch(
            epoch,
            self.config.seed,
            settings.batch_size,
            one_per_referent=settings.one_expression_per_referent,
            first=position.steps_in_epoch,
        )
        for batch in batches:
            index = position.steps_in_epoch
            self._losses.add(index, self._train_batch(batch))
            self._losses.check(index, epoch)
            position.steps_in_epoch += 1
            if self._on_step is not None:
                self._on_step(StepDone("training", self._step, self._steps))
            if self._checkpoints is not None:
                self._write_checkpoint()
        self._add_to_curves(epoch, "train/loss", self._losses.mean(epoch))
        self._add_to_curves(epoch, "learning_rate", learning_rate(self._step - 1, self._steps, settings))

    def _train_batch(self, batch: Batch) -> Tensor:
        """Do one step of the optimizer and return the loss."""
        settings = self.config.train
        rate = learning_rate(self._step, self._steps, settings)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        # Before the forward pass: the graphs of a compiled step use the memory of the last gradients again.
        self._optimizer.zero_grad(set_to_none=True)
        with autocast(self.config, self.device):
            loss = self.cell_data.task.loss(self._forward(batch), batch.target)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        self._optimizer.step()
        if self._average is not None:
            self._average.update(self.model)
        return loss

    def _write_checkpoint(self) -> None:
        if self._checkpoints is not None and self._checkpoints.due:
            self._checkpoints.write(self._step, self._steps, self.state())

    def _evaluate_selection(self, epoch: int) -> float:
        value = self._evaluator.selection(self._evaluated_model)
        self._add_to_curves(epoch, self._quantity, value)
        return value

    def _add_to_curves(self, epoch: int, quantity: str, value: float) -> None:
        seen = self._step * self.config.train.batch_size
        self._position.curves.append((epoch, seen, quantity, value))
