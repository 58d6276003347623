"""The position of a training that is going on, the state of its model, and who takes both from time to time."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn


class Checkpoints(Protocol):
    """Takes the state of a training from time to time."""

    @property
    def due(self) -> bool:
        """True if the state is to be taken now; asked after each step and each epoch."""
        ...

    def write(self, step: int, steps: int, state: Mapping[str, Any]) -> None:
        """Take the state after ``step`` of ``steps``; it holds tensors and plain values. An error ends the cell."""
        ...


@dataclass
class Position:
    """The progress of a training, and the best weights so far.

    Attributes:
        epochs: number of epochs that are over: trained and evaluated.
        steps_in_epoch: number of steps of the next epoch that are over.
        best_value: the best value of the selection metric so far; ``best_epoch``: the epoch that had it, 0 for none.
        best_state: the state of the model that is kept: that of the best epoch.
        curves: the rows of the curves: epoch, samples seen, quantity, value.
        seconds: wall-clock seconds of training when the state was taken.
    """

    epochs: int = 0
    steps_in_epoch: int = 0
    best_value: float = -math.inf
    best_epoch: int = 0
    best_state: dict[str, Any] = field(default_factory=dict)
    curves: list[tuple[int, int, str, float]] = field(default_factory=list)
    seconds: float = 0.0

    def end_epoch(self, value: float, model: nn.Module) -> None:
        """Count an epoch, and keep the state of ``model`` if ``value`` is better than all before."""
        self.epochs, self.steps_in_epoch = self.epochs + 1, 0
        if value > self.best_value:
            self.best_value, self.best_epoch = value, self.epochs
            self.best_state = copy.deepcopy(model.state_dict())

    def state(self) -> dict[str, Any]:
        """Return the attributes by name; tensors are not copied."""
        return dict(vars(self))


def model_state(model: nn.Module) -> dict[str, Any]:
    """Return the state of a model with the buffers that its ``state_dict`` leaves out; tensors are not copied."""
    state = model.state_dict()
    others = {name: buffer for name, buffer in model.named_buffers() if name not in state}
    return {"state": state, "buffers": others}


def load_model_state(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Copy a state that `model_state` returned into a model.

    Raises:
        RuntimeError: a tensor of its ``state_dict`` is missing, or has another shape.
        AttributeError: the model has no such part.
    """
    model.load_state_dict(state["state"])
    buffers: Mapping[str, Tensor] = state["buffers"]
    present = dict(model.named_buffers())
    for name, value in buffers.items():
        if name in present and present[name].shape == value.shape:
            present[name].copy_(value)
        else:  # made in a forward pass, for the sizes that it saw
            owner, _, leaf = name.rpartition(".")
            device = next((parameter.device for parameter in model.parameters()), value.device)
            model.get_submodule(owner).register_buffer(leaf, value.to(device), persistent=False)
