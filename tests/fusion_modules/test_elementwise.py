"""Sum and Hadamard product against their formula, one position at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fusion_modules.elementwise import Hadamard, Sum


@pytest.mark.parametrize("name", ["sum", "hadamard"])
def test_equals_the_formula(sentences: Any, random_module: Any, name: str) -> None:
    module = random_module(name, 6, 5, hidden=7)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language)
        for b in range(2):
            q = (module.sentence.weight @ language.sentence[b] + module.sentence.bias).clamp(min=0)
            for row in range(3):
                for column in range(4):
                    v = module.visual.weight[..., 0, 0] @ visual[b, :, row, column] + module.visual.bias
                    joined = v.clamp(min=0) + q if name == "sum" else v.clamp(min=0) * q
                    expected = (module.output.weight[..., 0, 0] @ joined + module.output.bias).clamp(min=0)
                    torch.testing.assert_close(out[b, :, row, column], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [Sum, Hadamard])
def test_the_sentence_is_projected_once_per_sample(kind: type[Sum | Hadamard]) -> None:
    c, d, h, w, hidden = 16, 12, 5, 7, 20
    expected = 2 * c * hidden * h * w + d * hidden
    assert kind(c, d, hidden=hidden).multiply_adds(c, d, h, w, words=4) == expected
