"""The control ``prior`` against its formula, one learned vector at every position."""

from __future__ import annotations

from typing import Any

import torch

from fusion_modules.controls.prior import Prior


def test_equals_one_learned_vector_at_every_position(sentences: Any, random_module: Any) -> None:
    module = random_module("prior", 6, 5)
    out = module(torch.randn(2, 6, 3, 4, dtype=torch.float64), sentences([3, 2], words=3, dim=5))
    assert torch.equal(out, module.constant[:, None, None].expand(2, 6, 3, 4))
    assert [name for name, _ in module.named_parameters()] == ["constant"]


def test_has_no_multiply_adds() -> None:
    c, d, h, w = 16, 12, 5, 7
    assert Prior(c, d).multiply_adds(c, d, h, w, words=4) == 0
