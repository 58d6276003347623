"""MFH against its cascade, product by product, and against MFB for one block."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fusion_modules.bilinear import MFB, MFH


@pytest.mark.parametrize("orders", [2, 3])
def test_equals_the_cascade(sentences: Any, random_module: Any, orders: int) -> None:
    o, k = 4, 3
    module = random_module("mfh", 6, 5, hidden=o, factors=k, orders=orders)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language)
        for b in range(2):
            for row in range(3):
                for column in range(4):
                    products, pooled = torch.ones(o * k, dtype=torch.float64), []
                    for block in module.expand:
                        v = block.visual.weight[..., 0, 0] @ visual[b, :, row, column] + block.visual.bias
                        q = block.sentence.weight @ language.sentence[b] + block.sentence.bias
                        products = products * (v * q)
                        s = torch.stack([products[i * k : i * k + k].sum() for i in range(o)])
                        y = s / (s.abs() + 1e-8).sqrt()
                        pooled.append(y / ((y * y).sum() + 1e-8).sqrt())
                    expected = module.output.weight[..., 0, 0] @ torch.cat(pooled) + module.output.bias
                    torch.testing.assert_close(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_one_order_equals_mfb(sentences: Any, random_module: Any) -> None:
    mfh = random_module("mfh", 6, 5, hidden=4, orders=1)
    mfb = MFB(6, 5, hidden=4).double().eval()
    mfb.load_state_dict({name.replace("expand.0.", "expand."): t for name, t in mfh.state_dict().items()})
    language = sentences([3], words=3, dim=5)
    visual = torch.randn(1, 6, 3, 4, dtype=torch.float64)
    assert torch.equal(mfh(visual, language), mfb(visual, language))


def test_dropout_of_a_block_acts_before_the_cascade(sentences: Any, random_module: Any) -> None:
    """Dropout of the products of the second block leaves the first order unchanged and makes the second zero."""
    module = random_module("mfh", 6, 5, hidden=4)
    language = sentences([3], words=3, dim=5)
    visual = torch.randn(1, 6, 3, 4, dtype=torch.float64)
    seen: list[torch.Tensor] = []
    module.output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module(visual, language)
    module.train()
    module.expand[0].dropout.p, module.expand[1].dropout.p = 0.0, 1.0
    module(visual, language)
    assert torch.equal(seen[1][:, :4], seen[0][:, :4])
    assert not seen[1][:, 4:].any()


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, h, w, o, k = 16, 12, 5, 7, 10, 3
    expected = 2 * (c * o * k * h * w + d * o * k) + 2 * o * c * h * w
    assert MFH(c, d, hidden=o, factors=k).multiply_adds(c, d, h, w, words=4) == expected
