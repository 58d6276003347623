"""MFB against ``rank k`` bilinear forms, one per output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusion_modules.bilinear import MFB


def test_equals_bilinear_forms_of_rank_k(sentences: Any, random_module: Any) -> None:
    c, d, o, k = 6, 5, 4, 3
    module = random_module("mfb", c, d, hidden=o, factors=k)
    language = sentences([3, 2], words=3, dim=d)
    visual = torch.randn(2, c, 3, 4, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)

    def augmented(layer: Any) -> Tensor:
        """Return ``[o k, in + 1]``, with the bias as the weight of a channel with the value 1."""
        return torch.cat((layer.weight.flatten(1), layer.bias[:, None]), dim=1)

    with torch.no_grad():
        u, w = augmented(module.expand.visual), augmented(module.expand.sentence)
        forms = [sum(torch.outer(u[i * k + j], w[i * k + j]) for j in range(k)) for i in range(o)]
        out = module(visual, language)
        for b in range(2):
            for row in range(3):
                for column in range(4):
                    v, q = torch.cat((visual[b, :, row, column], one)), torch.cat((language.sentence[b], one))
                    s = torch.stack([v @ form @ q for form in forms])  # type: ignore[operator]
                    y = s / (s.abs() + 1e-8).sqrt()
                    z = y / ((y * y).sum() + 1e-8).sqrt()
                    expected = module.output.weight[..., 0, 0] @ z + module.output.bias
                    torch.testing.assert_close(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_positions_are_normalised_separately(sentences: Any, random_module: Any) -> None:
    """The other positions of the map have no effect: L2 is not computed over the whole image."""
    module = random_module("mfb", 6, 5)
    language = sentences([3], words=3, dim=5)
    visual = torch.randn(1, 6, 3, 4, dtype=torch.float64)
    changed = visual.clone()
    changed[..., 0, 0] *= 100
    torch.testing.assert_close(
        module(changed, language)[..., 1:, :], module(visual, language)[..., 1:, :], rtol=1e-12, atol=1e-12
    )


def test_gradients_are_finite_with_dropped_products(sentences: Any) -> None:
    """Dropout of most products makes whole sums zero, where a square root has no derivative."""
    torch.manual_seed(0)
    module = MFB(6, 5, dropout=0.95)
    language = sentences([3, 2], words=3, dim=5, dtype=torch.float32)
    module(torch.randn(2, 6, 3, 4), language).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_has_the_published_number_of_parameters() -> None:
    """MFB has 35.3 M at 1000 outputs of 5 products, from 4800 and 2048 to 1000 answers."""
    with torch.device("meta"):
        module = MFB(2048, 4800, hidden=1000, factors=5)
    answering = sum(p.numel() for p in module.parameters()) - 1001 * 2048 + 1001 * 1000
    assert round(answering / 1e6, 1) == 35.3


def test_the_sentence_is_projected_once_per_sample() -> None:
    c, d, h, w, o, k = 16, 12, 5, 7, 10, 3
    expected = (c * o * k + o * c) * h * w + d * o * k
    assert MFB(c, d, hidden=o, factors=k).multiply_adds(c, d, h, w, words=4) == expected
