"""Bilinear attention against loops over glimpses, words and positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from attention_reference import Vector, Weights, linear, softmax, weights_of
from fusion_bench.contract import Language
from fusion_modules.ban import BAN


def projection(w: Weights, name: str, x: Vector) -> Vector:
    """Return the output of a weight-normalised layer with one gain and one norm for the whole matrix."""
    name = f"{name}.linear"
    gain = w[f"{name}.parametrizations.weight.original0"]
    direction = w[f"{name}.parametrizations.weight.original1"]
    return gain * direction / np.sqrt((direction**2).sum()) @ x + w[f"{name}.bias"]


def relu(x: Vector) -> Vector:
    return np.maximum(x, 0)


def attention_by_pairs(w: Weights, image: list[Vector], words: list[Vector], glimpse: int) -> Vector:
    """Return ``[T, N]``, one softmax over all pairs."""
    p = w["attention.pooling"][glimpse]
    logits = [
        float(
            (p * relu(projection(w, "attention.image", x)) * relu(projection(w, "attention.words", y))).sum()
        )
        for y in words
        for x in image
    ]
    return softmax(logits).reshape(len(words), len(image))


@pytest.mark.parametrize("glimpses", [1, 3])
def test_equals_the_formula_one_pair_at_a_time(sentences: Any, random_module: Any, glimpses: int) -> None:
    module = random_module("ban", 6, 5, glimpses=glimpses, hidden=4)
    language: Language = sentences([4, 1], words=4, dim=5)
    visual = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = weights_of(module)
    positions = [(row, column) for row in range(3) for column in range(5)]
    for b in range(2):
        image = [visual[b, :, row, column].numpy() for row, column in positions]
        inputs = [y.numpy() for y in language.words[b][language.mask[b]]]
        words, marginals = list(inputs), []
        for g in range(glimpses):
            attention = attention_by_pairs(w, image, inputs, g)
            name = f"glimpses.{g}"
            z = np.zeros(4)
            for t, y in enumerate(words):
                for i, x in enumerate(image):
                    pair = relu(projection(w, f"{name}.words", y)) * relu(projection(w, f"{name}.image", x))
                    z += attention[t, i] * pair
            words = [y + projection(w, f"{name}.answer", z) for y in words]
            marginals.append(attention.sum(axis=0) / attention.sum(axis=0).max())
        memory = np.sum(words, axis=0)
        for i, (row, column) in enumerate(positions):
            weights = np.array([marginal[i] for marginal in marginals])
            expected = image[i] + linear(w, "answer", memory) + linear(w, "looked", weights)
            np.testing.assert_allclose(out[b, :, row, column], expected, rtol=1e-10, atol=1e-10)


def test_one_softmax_over_all_pairs_of_one_sample_without_the_padding(
    sentences: Any, random_module: Any
) -> None:
    module = random_module("ban", 8, 5, glimpses=2)
    visual, language = torch.randn(2, 8, 3, 5, dtype=torch.float64), sentences([4, 2], words=4, dim=5)
    tokens = visual.flatten(2).transpose(1, 2)
    attention = module.attention(tokens, language.words, language.mask)
    torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(2, 2, dtype=torch.float64))
    assert attention[1, :, 2:].abs().max() == 0
    garbage = torch.where(language.mask[..., None], language.words, 1e300)
    assert torch.equal(
        module(visual, Language(garbage, language.mask, language.sentence)), module(visual, language)
    )
    short = Language(language.words[1:, :2], language.mask[1:, :2], language.sentence[1:])
    torch.testing.assert_close(
        module(visual[1:], short), module(visual, language)[1:], rtol=1e-12, atol=1e-12
    )


def test_explains_the_share_of_each_word_in_the_attention(sentences: Any, random_module: Any) -> None:
    module = random_module("ban", 8, 5, glimpses=2)
    visual, language = torch.randn(2, 8, 3, 5, dtype=torch.float64), sentences([4, 2], words=4, dim=5)
    explained = module.explain(visual, language).words
    torch.testing.assert_close(explained.sum(dim=1), torch.ones(2, 3, 5, dtype=torch.float64))
    assert explained[1, 2:].abs().max() == 0
    w = weights_of(module)
    pairs = [
        attention_by_pairs(
            w, list(visual[0].flatten(1).T.numpy()), [y.numpy() for y in language.words[0]], glimpse
        )
        for glimpse in range(2)
    ]
    shares = np.mean([attention / attention.sum(axis=0) for attention in pairs], axis=0)
    np.testing.assert_allclose(explained[0].flatten(1).detach().numpy(), shares, rtol=1e-10, atol=1e-10)


def test_adds_its_attention_at_the_attended_position_and_not_transposed(sentences: Any) -> None:
    torch.manual_seed(0)
    module = BAN(4, 3, glimpses=1).double().eval()
    visual = torch.zeros(1, 4, 3, 5, dtype=torch.float64)
    visual[0, :, 1, 3] = 1.0
    language = sentences([2], words=2, dim=3)
    with torch.no_grad():
        module.looked.weight.fill_(1.0)
        for part in (module.attention.image.linear, module.attention.words.linear):
            part.parametrizations.weight.original0.fill_(300.0)
            part.parametrizations.weight.original1.abs_()
        module.attention.pooling.fill_(1.0)
        language = Language(language.words.abs(), language.mask, language.sentence)
        added = (module(visual, language) - visual)[0, 0]
    assert int((added - added.min()).argmax()) == 8, "row 1, column 3 of five"
    assert ((added - added.min()) > 0.5).sum() == 1


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, h, w, t, k, g = 16, 12, 5, 7, 6, 10, 3
    hw = h * w
    attention = 3 * k * (hw * c + t * d) + g * t * hw * 3 * k
    glimpse = hw * c * k + t * d * k + t * hw * k + k * d
    expected = attention + g * glimpse + d * c + hw * g * c
    assert BAN(c, d, glimpses=g, hidden=k).multiply_adds(c, d, h, w, t) == expected


def test_the_explanation_is_finite_at_positions_without_attention(sentences: Any, random_module: Any) -> None:
    module = random_module("ban", 8, 5, glimpses=2)
    with torch.no_grad():
        module.attention.pooling.mul_(1e4)
    visual, language = torch.randn(2, 8, 3, 5, dtype=torch.float64), sentences([4, 2], words=4, dim=5)
    attention = module.attention(visual.flatten(2).transpose(1, 2), language.words, language.mask)
    assert attention.sum(dim=2).min() == 0
    assert module.explain(visual, language).words.isfinite().all()
