"""GARAN against loops over heads and positions, and the position of its output."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from attention_reference import linear, softmax, weights_of
from fusion_bench.contract import Language
from fusion_modules.garan import GARAN


@pytest.mark.parametrize("heads", [1, 2])
def test_equals_the_unit_computed_one_position_at_a_time(
    sentences: Any, random_module: Any, heads: int
) -> None:
    d, c = 4, 6
    module = random_module("garan", c, 5, heads=heads, attention_dim=d)
    language: Language = sentences([4, 1], words=4, dim=5)
    visual = torch.randn(2, c, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = weights_of(module)
    positions = [(row, column) for row in range(3) for column in range(5)]
    for b in range(2):
        image = {position: visual[b, :, position[0], position[1]].numpy() for position in positions}
        q = linear(w, "query", language.sentence[b].numpy())
        spread = {position: np.zeros(c) for position in positions}
        for head in range(heads):
            keys = slice(head * d // heads, (head + 1) * d // heads)
            values = slice(head * c // heads, (head + 1) * c // heads)

            def energy(name: str, x: Any, keys: slice = keys) -> float:
                return float(q[keys] @ linear(w, name, x)[keys]) / math.sqrt(d / heads)  # noqa: B023

            a = softmax([energy("collect_key", x) for x in image.values()])
            f = sum(
                weight * linear(w, "value", x)[values] for weight, x in zip(a, image.values(), strict=True)
            )
            for position, x in image.items():
                spread[position][values] = f / (1 + math.exp(-energy("diffuse_key", x)))
        for (row, column), x in image.items():
            total = spread[row, column] + x
            normed = (total - w["norm.running_mean"]) / np.sqrt(w["norm.running_var"] + 1e-5)
            normed = normed * w["norm.weight"] + w["norm.bias"]
            expected = np.where(normed > 0, normed, 0.1 * normed)
            np.testing.assert_allclose(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_the_diffused_map_is_not_transposed(sentences: Any) -> None:
    """The gate is open at one position only; on a 3x5 map the vector appears at this position."""
    module: Any = GARAN(2, 3, heads=1).double().eval()
    visual = torch.zeros(1, 2, 3, 5, dtype=torch.float64)
    visual[0, 0, 1, 3] = 1.0
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.query.bias.fill_(1.0)
        module.diffuse_key.weight[:, 0] = 60.0
        module.diffuse_key.bias.fill_(-30.0)
        module.value.bias.copy_(torch.tensor([0.0, 1.0]))
        module.norm.weight.fill_(1.0)
        second = module(visual, sentences([1], words=1, dim=3))[0, 1]
    expected = F.one_hot(torch.tensor(8), 15).view(3, 5).double()
    torch.testing.assert_close(second, expected, rtol=1e-4, atol=1e-6)


def test_works_on_maps_stored_channels_last(sentences: Any, random_module: Any) -> None:
    module, language = random_module("garan", 8, 5), sentences([4, 1], words=4, dim=5)
    visual = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    stored = visual.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(stored, language), module(visual, language), rtol=1e-12, atol=1e-12)


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, h, w, e = 16, 12, 5, 7, 6
    hw = h * w
    expected = d * e + 2 * hw * c * e + hw * c * c + 2 * hw * e + hw * c
    assert GARAN(c, d, attention_dim=e).multiply_adds(c, d, h, w, words=4) == expected


@pytest.mark.parametrize("settings", [{"heads": 3}, {"attention_dim": 5}])
def test_heads_that_do_not_divide_are_rejected(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="GARAN: 16 channels and an attention width"):
        GARAN(16, 12, **settings)
