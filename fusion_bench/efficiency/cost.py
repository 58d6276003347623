"""Parameters and multiply-adds of a part of a model, counted without running it."""

from __future__ import annotations

from typing import Any

from torch import nn

from fusion_bench.contract import Cost, multiply_adds_of


def cost_of(module: nn.Module, *inputs: Any) -> Cost:
    """Return the parameters of ``module`` and the multiply-adds of one forward pass.

    Args:
        module: the part of the model.
        inputs: the arguments of its ``forward``, for one sample (`multiply_adds_of`).
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return Cost(parameters, multiply_adds_of(module, *inputs))
