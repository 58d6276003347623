"""Size and arithmetic of a part of a model, counted without running it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fusion_bench.contract import Cost


def cost_of(module: nn.Module, *inputs: Any) -> Cost:
    """Parameters, and multiply-adds of one forward pass over ``inputs``.

    Counted on the meta device in evaluation mode, by the rule of `FusionModule.multiply_adds`: matmul,
    convolution, attention, recurrent layers and operators with a registered formula.

    Args:
        module: left as it is; a copy is counted.
        inputs: tensors or `Language` of one sample, on any device (only shapes and types are used).
    """
    twin = copy.deepcopy(module).to("meta").eval().requires_grad_(False)
    on_meta = [value.to("meta") if hasattr(value, "to") else value for value in inputs]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(*on_meta)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return Cost(parameters, int(counter.get_total_flops()) // 2)
