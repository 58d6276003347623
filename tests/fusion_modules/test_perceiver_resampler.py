"""The perceiver resampler against loops over latents, positions and words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from attention_reference import Vector, Weights, layer_norm, linear, multi_head, weights_of
from fusion_bench.contract import Language
from fusion_modules.perceiver_resampler import PerceiverResampler


def feed_forward(w: Weights, name: str, x: Vector) -> Vector:
    hidden = np.maximum(linear(w, f"{name}.expand", layer_norm(w, f"{name}.norm", x)), 0) ** 2
    return linear(w, f"{name}.contract", hidden)


@pytest.mark.parametrize("layers", [1, 2])
def test_equals_the_layers_computed_one_token_at_a_time(
    sentences: Any, random_module: Any, layers: int
) -> None:
    heads = 2
    module = random_module("perceiver_resampler", 6, 5, latents=3, dim=8, layers=layers, heads=heads)
    language: Language = sentences([4, 1], words=4, dim=5)
    visual = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = weights_of(module)
    positions = [(row, column) for row in range(2) for column in range(3)]
    for b in range(2):
        image = [visual[b, :, row, column].numpy() for row, column in positions]
        inputs = [linear(w, "embed_image", x) for x in image]
        inputs += [linear(w, "embed_words", y.numpy()) for y in language.words[b][language.mask[b]]]
        latents = list(w["latents"])
        for i in range(layers):
            name = f"layers.{i}"
            normed = [layer_norm(w, f"{name}.latent_norm", z) for z in latents]
            sources = [layer_norm(w, f"{name}.input_norm", m) for m in inputs] + normed
            latents = [
                z + multi_head(w, f"{name}.attention", query, sources, sources, heads)
                for z, query in zip(latents, normed, strict=True)
            ]
            latents = [z + feed_forward(w, f"{name}.feed_forward", z) for z in latents]
        latents = [layer_norm(w, "norm", z) for z in latents]
        for (row, column), x in zip(positions, image, strict=True):
            query = layer_norm(w, "question_norm", x)
            attended = x + multi_head(w, "read", query, latents, latents, heads)
            expected = attended + feed_forward(w, "feed_forward", attended)
            np.testing.assert_allclose(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_every_latent_and_parameter_gets_a_gradient_and_padding_does_not(
    sentences: Any, random_module: Any
) -> None:
    module = random_module("perceiver_resampler", 8, 5, latents=7)
    visual, language = torch.randn(2, 8, 3, 5, dtype=torch.float64), sentences([4, 2], words=4, dim=5)
    words = torch.where(language.mask[..., None], language.words, 1e300).requires_grad_()
    out = module(visual, Language(words, language.mask, language.sentence))
    torch.testing.assert_close(out, module(visual, language), rtol=0, atol=0)
    out.square().sum().backward()
    assert words.grad is not None
    assert (words.grad.abs().amax(dim=2) > 0).equal(language.mask)
    assert all(parameter.grad.abs().max() > 1e-6 for parameter in module.parameters())
    assert module.latents.grad.abs().amax(dim=1).min() > 1e-6


def test_latents_are_shared_by_the_samples_and_not_changed_by_a_forward(
    sentences: Any, random_module: Any
) -> None:
    module = random_module("perceiver_resampler", 8, 5, latents=3)
    before = module.latents.detach().clone()
    visual, language = torch.randn(2, 8, 3, 5, dtype=torch.float64), sentences([4, 2], words=4, dim=5)
    first = module(visual, language)
    other = Language(language.words.flip(0), language.mask.flip(0), language.sentence.flip(0))
    torch.testing.assert_close(module(visual.flip(0), other).flip(0), first, rtol=1e-12, atol=1e-12)
    assert torch.equal(module.latents, before)


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, e, h, w, t, f, layers, z = 16, 10, 24, 5, 7, 6, 40, 2, 9
    hw = h * w
    keys = hw + t + z
    layer = 2 * z * e * e + 2 * keys * e * e + 2 * z * keys * e + 2 * z * e * f
    read = 2 * hw * c * c + 2 * z * e * c + 2 * hw * z * c + 2 * hw * c * f
    module = PerceiverResampler(c, d, latents=z, dim=e, ffn_dim=f, layers=layers)
    assert module.multiply_adds(c, d, h, w, t) == hw * c * e + t * d * e + layers * layer + read


@pytest.mark.parametrize("settings", [{}, {"dim": 16}])
def test_channels_that_do_not_fit_are_rejected(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="20 channels are not a multiple of 8 heads"):
        PerceiverResampler(20, 12, **settings)
