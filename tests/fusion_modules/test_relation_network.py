"""The relation network against a loop over all pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from by_hand import Array, Layers, relu
from fusion_modules.relation_network import RelationNetwork


def by_formula(w: Layers, visual: Array, objects: list[Array], sentence: Array) -> Array:
    """Return the output; ``objects`` holds the paired positions with their coordinates."""
    first = np.concatenate([w["first.weight"], w["second.weight"], w["question.weight"]], axis=1)
    total = np.zeros(len(first))
    for o_i in objects:
        for o_j in objects:
            g = relu(first @ np.concatenate([o_i, o_j, sentence]) + w["first.bias"])
            for layer in range(3):
                g = relu(w.linear(f"relation.{layer}", g))
            total += g
    answer = w.linear("answer", relu(w.linear("readout.1", relu(w.linear("readout.0", total)))))
    return relu(w.pointwise("visual", visual) + answer[:, None, None])


def test_equals_the_sum_over_all_ordered_pairs(sentences: Any, random_module: Any) -> None:
    module = random_module("relation_network", 4, 5, hidden=6)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    for b in range(2):
        image = visual[b].numpy()
        objects = [np.append(image[:, y, x], [2 * x - 1, y - 1]) for y in range(3) for x in range(2)]
        expected = by_formula(Layers(module), image, objects, language.sentence[b].numpy())
        np.testing.assert_allclose(out[b], expected, rtol=1e-10, atol=1e-10)


def test_pairs_pooled_positions_of_a_larger_map(sentences: Any, random_module: Any) -> None:
    module = random_module("relation_network", 4, 5, hidden=6, positions=4)
    language = sentences([3], words=3, dim=5)
    visual = torch.randn(1, 4, 6, 4, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()[0]
    image = visual[0].numpy()
    means = [image[:, y : y + 3, x : x + 2].mean(axis=(1, 2)) for y in (0, 3) for x in (0, 2)]
    coordinates = [(-1, -1), (1, -1), (-1, 1), (1, 1)]
    objects = [np.append(mean, coordinate) for mean, coordinate in zip(means, coordinates, strict=True)]
    expected = by_formula(Layers(module), image, objects, language.sentence[0].numpy())
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-10)


def test_its_cost_stops_growing_with_the_map() -> None:
    c, d, e, n = 8, 5, 12, 36
    pairs = 2 * n * (c + 2) * e + d * e + 3 * n * n * e * e
    after = 2 * e * e + e * c

    def pooling(height: int, width: int) -> int:
        return 6 * height * width * c + 36 * width * c

    for height, width in ((12, 12), (30, 30)):
        expected = pairs + after + c * c * height * width + pooling(height, width)
        assert RelationNetwork(c, d, hidden=e).multiply_adds(c, d, height, width, words=4) == expected


def test_the_number_of_positions_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positions must be at least 1, not 0"):
        RelationNetwork(8, 5, positions=0)


def test_dropout_acts_in_training_only(sentences: Any, random_module: Any) -> None:
    module = random_module("relation_network", 4, 5, hidden=16)
    language, visual = sentences([3], words=3, dim=5), torch.randn(1, 4, 3, 2, dtype=torch.float64)
    assert torch.equal(module(visual, language), module(visual, language))
    module.train()
    assert not torch.equal(module(visual, language), module(visual, language))
