"""The optimizer, the learning rate of each step, and the moving average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from fusion_bench.training.config import TrainConfig


def schedule(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the highest learning rate at ``step`` (from 0): linear warm-up, then a cosine to zero.

    Args:
        step: the step, from 0.
        steps: number of steps of the whole training.
        warmup: share of all steps in which the factor rises to 1.
    """
    warm_steps = _warmup_steps(steps, warmup)
    if step < warm_steps:
        return (step + 1) / warm_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warm_steps) / max(1, steps - warm_steps)))


def learning_rate(step: int, steps: int, settings: TrainConfig) -> float:
    """Return the learning rate at ``step`` (from 0) of ``steps``.

    It is `schedule` times the highest rate ``settings.learning_rate``. With ``warmup_from``, the first step has that
    rate and the first step after the warm-up has the highest one. The cosine falls to ``final_learning_rate``.
    """
    peak, first, final = settings.learning_rate, settings.warmup_from, settings.final_learning_rate
    warm_steps = _warmup_steps(steps, settings.warmup)
    if step < warm_steps:
        if first is None:
            return peak * schedule(step, steps, settings.warmup)
        return first + (peak - first) * step / warm_steps
    return final + (peak - final) * schedule(step, steps, settings.warmup)


def _warmup_steps(steps: int, warmup: float) -> int:
    return max(1, round(warmup * steps))


def make_optimizer(model: nn.Module, settings: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a model's trained parameters.

    Weight decay applies to parameters with more than one axis, and not to biases, norms and gates. AdamW applies it
    separately from the gradient (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019); Adam
    adds it to the gradient. The fused step takes a third of the time on a CPU; it has no complex parameters.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    fused = all(parameter.is_floating_point() for parameter in trained)
    return kind(
        groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=fused or None
    )


class MovingAverage:
    """A copy of a model whose state ``s`` is the exponential moving average of the model's state ``w``:

        s <- s + (1 - d) (w - s),    d = min(decay, (n + 1) / (n + 10)) at the update after n others.

    Buffers such as batch norm's running statistics are averaged like weights, as in LaConvNet's code. Integers (batch
    norm's count of batches) are copied, which changes no result.

    Attributes:
        model: the copy, which is never trained.
        updates: number of updates so far.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the model's current state."""
        weight = 1 - min(self._decay, (self.updates + 1) / (self.updates + 10))
        self.updates += 1
        state = model.state_dict()
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                average.lerp_(state[name], weight)
            else:
                average.copy_(state[name])
