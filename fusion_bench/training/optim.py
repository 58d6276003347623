"""What turns gradients into weights: optimizer, learning rate by step, moving average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from fusion_bench.training.config import TrainConfig


def schedule(step: int, steps: int, warmup: float) -> float:
    """Factor on the learning rate at ``step`` of ``steps``: linear warm-up, then cosine to zero."""
    rising = _rising(steps, warmup)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def learning_rate(step: int, steps: int, settings: TrainConfig) -> float:
    """The learning rate at ``step`` of ``steps``, counted from 0.

    ``schedule`` times the peak; with ``warmup_from`` the first step has that rate, and the one after the warm-up
    the peak; the cosine falls to ``final_learning_rate``.
    """
    peak, first, final = settings.learning_rate, settings.warmup_from, settings.final_learning_rate
    rising = _rising(steps, settings.warmup)
    if step < rising:
        if first is None:
            return peak * schedule(step, steps, settings.warmup)
        return first + (peak - first) * step / rising
    return final + (peak - final) * schedule(step, steps, settings.warmup)


def _rising(steps: int, warmup: float) -> int:
    return max(1, round(warmup * steps))


def make_optimizer(model: nn.Module, settings: TrainConfig) -> torch.optim.Optimizer:
    """Weights decay, while biases, norms and gates (everything of at most one axis) do not.

    AdamW decays apart from the gradient, Adam as part of it.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps)


class MovingAverage:
    """A twin of a model whose state is the exponential moving average of the model's.

        s <- s + (1 - d) (w - s),    d = min(decay, (n + 1) / (n + 10)) at the update after n others

    Buffers are averaged like weights, batch norm's running statistics among them, as in LaConvNet's code; whole
    numbers (batch norm's count of batches) are taken over as they are, which changes nothing that is computed.

    Attributes:
        model: the twin, which is never trained.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._decay, self._updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's present state."""
        weight = 1 - min(self._decay, (self._updates + 1) / (self._updates + 10))
        self._updates += 1
        state = model.state_dict()
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                average.lerp_(state[name], weight)
            else:
                average.copy_(state[name])
