"""MUTAN and Tucker against the triple sum, and against each other in the cases where they are equal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fusion_modules.bilinear import MUTAN, Tucker


def by_triple_sum(module: Any, core: Tensor, visual: Tensor, sentence: Tensor) -> Tensor:
    """Return the output for ``core[i, j, k]``: sentence channel, visual channel, output, as in the paper."""
    out = torch.empty_like(visual)
    t = core.shape[2]
    for b in range(visual.shape[0]):
        q = torch.tanh(module.sentence.weight @ sentence[b] + module.sentence.bias)
        for row in range(visual.shape[2]):
            for column in range(visual.shape[3]):
                v = torch.tanh(
                    module.visual.weight[..., 0, 0] @ visual[b, :, row, column] + module.visual.bias
                )
                if core.shape[0] == t + 1:  # the form's linear parts: one more channel, always 1
                    v, q_ = torch.cat((v, v.new_ones(1))), torch.cat((q, q.new_ones(1)))
                else:
                    q_ = q
                z = torch.stack([q_ @ core[:, :, k] @ v for k in range(t)])
                out[b, :, row, column] = module.output.weight[..., 0, 0] @ z + module.output.bias
    return out


def core_of(module: Any) -> Tensor:
    """Return the core ``[t + 1, t + 1, t]``, whose slices are sums of ``R`` outer products."""
    m = torch.cat((module.core.language_factors[0], module.core.language_constants[0, ..., None]), dim=-1)
    n = torch.cat((module.core.visual_factors[0], module.core.visual_constants[0, ..., None]), dim=-1)
    slices = [sum(torch.outer(m[r, k], n[r, k]) for r in range(m.shape[0])) for k in range(m.shape[1])]
    return torch.stack(slices, dim=2)  # type: ignore[arg-type]


@pytest.fixture
def inputs(sentences: Any) -> tuple[Tensor, Any]:
    generator = torch.Generator().manual_seed(3)
    visual = torch.randn(2, 6, 3, 4, generator=generator, dtype=torch.float64)
    return visual, sentences([3, 2], words=3, dim=5)


def test_tucker_equals_the_triple_sum(random_module: Any, inputs: tuple[Tensor, Any]) -> None:
    module = random_module("tucker", 6, 5, hidden=4)
    visual, language = inputs
    with torch.no_grad():
        core = module.core.tensor.transpose(1, 2)
        expected = by_triple_sum(module, core, visual, language.sentence)
        torch.testing.assert_close(module(visual, language), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3])
def test_mutan_equals_the_triple_sum_over_slices_of_low_rank(
    random_module: Any, inputs: tuple[Tensor, Any], rank: int
) -> None:
    module = random_module("mutan", 6, 5, hidden=4, rank=rank)
    visual, language = inputs
    with torch.no_grad():
        core = core_of(module)
        assert all(torch.linalg.matrix_rank(core[:, :, k]) == rank for k in range(4))
        expected = by_triple_sum(module, core, visual, language.sentence)
        torch.testing.assert_close(module(visual, language), expected, rtol=1e-12, atol=1e-12)


def test_mutan_of_full_rank_represents_every_tucker_fusion(
    random_module: Any, inputs: tuple[Tensor, Any]
) -> None:
    tucker = random_module("tucker", 6, 5, hidden=4)
    mutan = random_module("mutan", 6, 5, hidden=4, rank=4)
    with torch.no_grad():
        for part in ("visual", "sentence", "output"):
            getattr(mutan, part).load_state_dict(getattr(tucker, part).state_dict())
        mutan.core.language_constants.zero_()
        mutan.core.visual_constants.zero_()
        for k in range(4):  # T_k = sum_r e_r T_k[r]^T
            mutan.core.language_factors[0, :, k] = torch.eye(4)
            mutan.core.visual_factors[0, :, k] = tucker.core.tensor[:, k]
        torch.testing.assert_close(mutan(*inputs), tucker(*inputs), rtol=1e-12, atol=1e-12)


def test_tucker_with_the_core_of_mutan_equals_mutan(random_module: Any, inputs: tuple[Tensor, Any]) -> None:
    tucker = random_module("tucker", 6, 5, hidden=4)
    mutan = random_module("mutan", 6, 5, hidden=4, rank=2)
    with torch.no_grad():
        for part in ("visual", "sentence", "output"):
            getattr(tucker, part).load_state_dict(getattr(mutan, part).state_dict())
        mutan.core.language_constants.zero_()
        mutan.core.visual_constants.zero_()
        tucker.core.tensor.copy_(core_of(mutan)[:4, :4].transpose(1, 2))
        torch.testing.assert_close(tucker(*inputs), mutan(*inputs), rtol=1e-12, atol=1e-12)


def test_has_the_published_number_of_parameters() -> None:
    """MUTAN has 15.31 M at width 700 and rank 10, from 4800 and 2048 to 1000 answers; Tucker's core is a cube."""
    with torch.device("meta"):
        mutan, tucker = MUTAN(2048, 4800, hidden=700), Tucker(2048, 4800, hidden=160)
    answering = sum(p.numel() for p in mutan.parameters()) - 701 * 2048 + 701 * 1000
    assert round(answering / 1e6, 2) == 15.31
    assert sum(p.numel() for p in tucker.core.parameters()) == 160**3


def test_the_product_of_sentence_and_core_is_computed_once_per_sample() -> None:
    c, d, h, w, t, rank = 16, 12, 5, 7, 8, 3
    around = 2 * c * t * h * w + d * t
    applied = t * t * h * w
    assert MUTAN(c, d, hidden=t, rank=rank).multiply_adds(c, d, h, w, words=4) == (
        around + 2 * rank * t * t + applied
    )
    assert Tucker(c, d, hidden=t).multiply_adds(c, d, h, w, words=4) == around + t**3 + applied


@pytest.mark.parametrize("name", ["mutan", "tucker"])
def test_dropout_acts_in_training_only(random_module: Any, inputs: tuple[Tensor, Any], name: str) -> None:
    module = random_module(name, 6, 5)
    assert torch.equal(module(*inputs), module(*inputs))
    module.train()
    assert not torch.equal(module(*inputs), module(*inputs))
