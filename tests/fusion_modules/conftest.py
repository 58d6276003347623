"""Fixtures: random sentences, and modules with random weights and statistics in float64 and evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fusion_bench.contract import Language
from fusion_bench.registry import Target
from fusion_modules import CATALOGUE

Sentences = Callable[..., Language]
RandomModule = Callable[..., Any]


@pytest.fixture
def sentences() -> Sentences:
    """The function ``sentences(lengths, words=T, dim=D)``: one random sentence per length, padded to ``T`` words."""

    def make(lengths: list[int], *, words: int, dim: int, dtype: torch.dtype = torch.float64) -> Language:
        generator = torch.Generator().manual_seed(7)
        return Language(
            torch.randn(len(lengths), words, dim, generator=generator, dtype=dtype),
            torch.arange(words) < torch.tensor(lengths)[:, None],
            torch.randn(len(lengths), dim, generator=generator, dtype=dtype),
        )

    return make


@pytest.fixture
def random_module() -> RandomModule:
    """The function ``random_module(name, visual_dim, language_dim, **settings)``: a module of the catalogue.

    No parameter or statistic keeps an initial value of 0 or 1.
    """

    def make(name: str, visual_dim: int, language_dim: int, **settings: Any) -> Any:
        torch.manual_seed(11)
        module: nn.Module = Target(CATALOGUE[name]).load()(visual_dim, language_dim, **settings)
        module.double().eval()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.5)
            for key, statistic in module.named_buffers():
                if key.endswith("running_mean"):
                    statistic.normal_()
                if key.endswith("running_var"):
                    statistic.uniform_(0.5, 2.0)
        return module

    return make
