"""MCAN against loops over tokens, and against the published size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from attention_reference import attention_unit, feed_forward_unit, linear, sine_code, weights_of
from fusion_bench.contract import Language
from fusion_modules.mcan import MCAN


@pytest.mark.parametrize("layers", [1, 2])
def test_equals_the_layers_computed_one_token_at_a_time(
    sentences: Any, random_module: Any, layers: int
) -> None:
    heads = 2
    module = random_module("mcan", 6, 5, dim=8, layers=layers, heads=heads)
    language: Language = sentences([4, 1], words=4, dim=5)
    visual = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = weights_of(module)
    positions = [(row, column) for row in range(2) for column in range(3)]
    codes = [sine_code(row, column, 8) for row, column in positions]
    for b in range(2):
        words = [linear(w, "embed_words", y.numpy()) for y in language.words[b][language.mask[b]]]
        for i in range(layers):
            name = f"encoder.{i}"
            words = [attention_unit(w, f"{name}.attention", y, y, words, words, heads) for y in words]
            words = [feed_forward_unit(w, f"{name}.feed_forward", y) for y in words]
        image = [linear(w, "embed_image", visual[b, :, row, column].numpy()) for row, column in positions]
        for i in range(layers):
            name = f"decoder.{i}"
            located = [x + code for x, code in zip(image, codes, strict=True)]
            image = [
                attention_unit(w, f"{name}.attention", x, query, located, image, heads)
                for x, query in zip(image, located, strict=True)
            ]
            image = [
                attention_unit(w, f"{name}.guidance", x, x + code, words, words, heads)
                for x, code in zip(image, codes, strict=True)
            ]
            image = [feed_forward_unit(w, f"{name}.feed_forward", x) for x in image]
        for (row, column), expected in zip(positions, image, strict=True):
            np.testing.assert_allclose(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_padding_gets_no_attention_and_changes_no_output(sentences: Any, random_module: Any) -> None:
    module = random_module("mcan", 8, 5, layers=2)
    visual, language = torch.randn(2, 8, 3, 5, dtype=torch.float64), sentences([4, 2], words=4, dim=5)
    attention = module.explain(visual, language).words
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(2, 3, 5, dtype=torch.float64))
    assert attention[1, 2:].abs().max() == 0
    garbage = torch.where(language.mask[..., None], language.words, 1e300)
    assert torch.equal(
        module(visual, Language(garbage, language.mask, language.sentence)), module(visual, language)
    )
    short = Language(language.words[1:, :2], language.mask[1:, :2], language.sentence[1:])
    torch.testing.assert_close(
        module(visual[1:], short), module(visual, language)[1:], rtol=1e-12, atol=1e-12
    )


def test_the_small_model_has_the_published_size() -> None:
    """Six layers of 512 channels have 44.1 M parameters between the input projections and the pooling."""
    with torch.device("meta"):
        module = MCAN(2048, 512, dim=512, layers=6)
    core = sum(p.numel() for part in (module.encoder, module.decoder) for p in part.parameters())
    assert core == pytest.approx(44.1e6, abs=0.05e6)


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, e, h, w, t, f, layers = 12, 10, 16, 5, 7, 6, 40, 2
    hw = h * w
    words = 4 * t * e * e + 2 * t * t * e + 2 * t * e * f
    itself = 4 * hw * e * e + 2 * hw * hw * e
    guided = 2 * hw * e * e + 2 * t * e * e + 2 * hw * t * e
    expected = hw * c * e + t * d * e + layers * (words + itself + guided + 2 * hw * e * f)
    module = MCAN(c, d, dim=e, ffn_dim=f, layers=layers)
    assert module.multiply_adds(c, d, h, w, t) == expected


def test_channels_that_do_not_fit_are_rejected() -> None:
    with pytest.raises(ValueError, match="MCAN: 20 channels are not a multiple of 4 and of 8 heads"):
        MCAN(20, 12)
