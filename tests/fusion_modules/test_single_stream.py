"""The single-stream transformer against loops over tokens, and the effect of its codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from attention_reference import attention_unit, feed_forward_unit, linear, sine_code, weights_of
from fusion_bench.contract import Language
from fusion_modules.single_stream import SingleStream


@pytest.mark.parametrize("layers", [1, 2])
def test_equals_the_layers_computed_one_token_at_a_time(
    sentences: Any, random_module: Any, layers: int
) -> None:
    heads = 2
    module = random_module("single_stream", 6, 5, dim=8, layers=layers, heads=heads)
    language: Language = sentences([4, 1], words=4, dim=5)
    visual = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = weights_of(module)
    positions = [(row, column) for row in range(2) for column in range(3)]
    for b in range(2):
        words = [linear(w, "embed_words", y.numpy()) for y in language.words[b][language.mask[b]]]
        image = [linear(w, "embed_image", visual[b, :, row, column].numpy()) for row, column in positions]
        stream = words + image
        codes = [sine_code(0, t, 8) + w["word_type"] for t in range(len(words))]
        codes += [sine_code(row, column, 8) + w["image_type"] for row, column in positions]
        for i in range(layers):
            located = [z + code for z, code in zip(stream, codes, strict=True)]
            stream = [
                attention_unit(w, f"layers.{i}.attention", z, query, located, stream, heads)
                for z, query in zip(stream, located, strict=True)
            ]
            stream = [feed_forward_unit(w, f"layers.{i}.feed_forward", z) for z in stream]
        for (row, column), expected in zip(positions, stream[len(words) :], strict=True):
            np.testing.assert_allclose(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_the_order_of_words_matters_and_padding_does_not(sentences: Any, random_module: Any) -> None:
    module = random_module("single_stream", 8, 5, layers=2)
    visual, language = torch.randn(2, 8, 3, 5, dtype=torch.float64), sentences([4, 4], words=4, dim=5)
    swapped = Language(language.words.flip(1), language.mask, language.sentence)
    base = module(visual, language)
    assert (module(visual, swapped) - base).abs().max() > 1e-3
    longer = Language(
        torch.nn.functional.pad(language.words, (0, 0, 0, 2), value=1e300),
        torch.nn.functional.pad(language.mask, (0, 2)),
        language.sentence,
    )
    torch.testing.assert_close(module(visual, longer), base, rtol=1e-12, atol=1e-12)


def test_word_and_position_are_distinguished_by_their_types(sentences: Any, random_module: Any) -> None:
    """Word and position have equal projections and position codes, so only their types differ."""
    module = random_module("single_stream", 8, 8)
    with torch.no_grad():
        module.embed_words.load_state_dict(module.embed_image.state_dict())
    language = sentences([1], words=1, dim=8)
    visual = torch.randn(1, 8, 1, 1, dtype=torch.float64)
    with_types = module(visual, language)
    with torch.no_grad():
        module.word_type.copy_(module.image_type)
    assert (module(visual, language) - with_types).abs().max() > 1e-3


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, e, h, w, t, f, layers = 12, 10, 16, 5, 7, 6, 40, 2
    hw = h * w
    n = hw + t
    layer = 4 * n * e * e + 2 * n * n * e + 2 * n * e * f
    module = SingleStream(c, d, dim=e, ffn_dim=f, layers=layers)
    assert module.multiply_adds(c, d, h, w, t) == hw * c * e + t * d * e + layers * layer


def test_channels_that_do_not_fit_are_rejected() -> None:
    with pytest.raises(ValueError, match="SingleStream: 20 channels are not a multiple of 4 and of 8 heads"):
        SingleStream(20, 12)
