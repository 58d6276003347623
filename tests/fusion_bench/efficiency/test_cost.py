"""Counted multiply-adds against formulas written down by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fusion_bench.contract import Cost, Language
from fusion_bench.efficiency.cost import cost_of
from fusion_bench.encoders.text import GruEncoder


def test_a_convolution_costs_its_taps() -> None:
    convolution = nn.Conv2d(4, 6, 3, padding=1)
    image = torch.randn(1, 4, 5, 7)
    assert cost_of(convolution, image) == Cost(4 * 6 * 9 + 6, 4 * 6 * 9 * 5 * 7)
    assert convolution.weight.device.type == "cpu", "the module itself stays where it is"


@pytest.mark.parametrize(("directions", "ways"), [("forward", 1), ("both", 2)])
def test_a_gru_costs_three_gates_a_word_and_direction(directions: str, ways: int) -> None:
    encoder = GruEncoder(50, embedding=20, hidden=8, directions=directions)  # type: ignore[arg-type]
    tokens, mask = torch.zeros(1, 15, dtype=torch.long), torch.ones(1, 15, dtype=torch.bool)
    cost = cost_of(encoder, tokens, mask)
    assert cost.multiply_adds == ways * 15 * 3 * 8 * (20 + 8)
    assert cost.parameters == 50 * 20 + ways * 3 * (8 * (20 + 8) + 2 * 8)


def test_language_is_an_input_like_any_other() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, language: Language) -> Tensor:
            out: Tensor = self.linear(language.words)
            return out

    language = Language(torch.zeros(1, 5, 3), torch.ones(1, 5, dtype=torch.bool), torch.zeros(1, 3))
    assert cost_of(Reader(), language) == Cost(8, 5 * 6)


def test_a_module_that_hands_on_a_parameter_can_be_counted() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.zeros(3))

        def forward(self, image: Tensor) -> Tensor:
            return self.value.expand(image.shape[0], 3)

    assert cost_of(Constant(), torch.zeros(1, 3)) == Cost(3, 0)
