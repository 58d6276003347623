"""MCB against the hashed outer product, and the Fourier transform against the circular convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fusion_modules.bilinear import MCB
from fusion_modules.bilinear.mcb import CountSketch


@pytest.mark.parametrize("sketch", [16, 9, 1])
def test_equals_the_hashed_outer_product(sentences: Any, random_module: Any, sketch: int) -> None:
    """Entry (i, j) of the outer product is added to bin ``h_i + g_j`` modulo d, with the product of its signs."""
    module = random_module("mcb", 6, 5, sketch=sketch)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    h, s = module.visual.bins.tolist(), module.visual.signs.tolist()
    g, t = module.sentence.bins.tolist(), module.sentence.signs.tolist()
    with torch.no_grad():
        out = module(visual, language)
        for b in range(2):
            for row in range(3):
                for column in range(4):
                    sketched = torch.zeros(sketch, dtype=torch.float64)
                    for i in range(6):
                        for j in range(5):
                            entry = visual[b, i, row, column] * language.sentence[b, j]
                            sketched[(h[i] + g[j]) % sketch] += s[i] * t[j] * entry
                    y = sketched / (sketched.abs() + 1e-8).sqrt()
                    z = y / ((y * y).sum() + 1e-8).sqrt()
                    expected = module.output.weight[..., 0, 0] @ z + module.output.bias
                    torch.testing.assert_close(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_the_product_of_spectra_is_the_convolution_of_two_sketches() -> None:
    torch.manual_seed(0)
    d = 10
    left = CountSketch(6, d)(torch.randn(6, dtype=torch.float64))
    right = CountSketch(5, d)(torch.randn(5, dtype=torch.float64))
    convolved = torch.zeros(d, dtype=torch.float64)
    for a in range(d):
        for b in range(d):
            convolved[(a + b) % d] += left[a] * right[b]
    product = torch.fft.irfft(torch.fft.rfft(left) * torch.fft.rfft(right), n=d)
    torch.testing.assert_close(product, convolved, rtol=1e-12, atol=1e-12)


def test_sketches_keep_inner_products_on_average() -> None:
    """The mean of <psi(x), psi(y)> is <x, y> over bins and signs; its deviation is at most |x| |y| sqrt(2 / d)."""
    torch.manual_seed(0)
    x, y = torch.randn(2, 8, dtype=torch.float64)
    draws, d = 600, 16
    found = []
    for _ in range(draws):
        sketch = CountSketch(8, d)
        found.append(sketch(x) @ sketch(y))
    error = (torch.stack(found).mean() - x @ y).abs()
    assert error < 4 * x.norm() * y.norm() * (2 / d / draws) ** 0.5


def test_bins_and_signs_are_fixed_and_follow_the_seed() -> None:
    def build(seed: int) -> MCB:
        torch.manual_seed(seed)
        return MCB(32, 24)

    first, again, other = build(0), build(0), build(1)
    buffers = dict(first.named_buffers())
    assert buffers.keys() == {"visual.bins", "visual.signs", "sentence.bins", "sentence.signs"}
    assert buffers.keys() <= first.state_dict().keys()
    assert all(torch.equal(buffers[name], value) for name, value in again.named_buffers())
    assert not any(torch.equal(buffers[name], value) for name, value in other.named_buffers())
    assert all(
        not value.is_floating_point() for value in first.double().buffers()
    )  # a change of dtype does not round them


def test_autocast_keeps_the_transform_in_float32(sentences: Any) -> None:
    torch.manual_seed(0)
    module = MCB(6, 5, sketch=20).eval()
    language = sentences([3], words=3, dim=5, dtype=torch.float32)
    visual = torch.randn(1, 6, 3, 4)
    seen: list[torch.Tensor] = []
    module.output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module(visual, language)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module(visual, language)
    assert seen[1].dtype == torch.float32
    assert torch.equal(seen[0], seen[1])


def test_half_precision_goes_through_float32_and_back(sentences: Any) -> None:
    torch.manual_seed(0)
    module = MCB(6, 5, sketch=20).eval()
    language = sentences([3], words=3, dim=5, dtype=torch.float32)
    visual = torch.randn(1, 6, 3, 4)
    wide = module(visual, language)
    half = module.bfloat16()(visual.bfloat16(), language.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), wide, rtol=0.1, atol=0.05)


def test_dropout_is_on_the_normalised_product(sentences: Any, random_module: Any) -> None:
    module = random_module("mcb", 6, 5, dropout=0.5)
    language = sentences([3], words=3, dim=5)
    visual = torch.randn(1, 6, 3, 4, dtype=torch.float64)
    seen: list[torch.Tensor] = []
    module.output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module(visual, language)
    module.train()(visual, language)
    kept = seen[1] != 0
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(seen[1][kept], 2 * seen[0][kept], rtol=1e-12, atol=1e-12)
