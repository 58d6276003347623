"""The control ``frozen_random``: FiLM's block with frozen random parameters that reads both inputs."""

from __future__ import annotations

from typing import Any

import torch

from fusion_modules.controls.frozen_random import FrozenRandom
from fusion_modules.film import FiLM


def test_equals_films_block_and_is_not_trainable(sentences: Any, random_module: Any) -> None:
    assert FiLM.trainable
    assert not FrozenRandom.trainable
    frozen, film = random_module("frozen_random", 8, 5, hidden=6), random_module("film", 8, 5, hidden=6)
    film.load_state_dict(frozen.state_dict())
    visual, language = torch.randn(2, 8, 3, 4, dtype=torch.float64), sentences([3, 2], words=3, dim=5)
    assert torch.equal(frozen(visual, language), film(visual, language))


def test_image_and_sentence_both_change_the_output_at_initialisation(sentences: Any) -> None:
    torch.manual_seed(0)
    module = FrozenRandom(8, 5).double().eval()
    visual, language = torch.randn(2, 8, 3, 4, dtype=torch.float64), sentences([3, 2], words=3, dim=5)
    out = module(visual, language)
    other_sentence = type(language)(language.words, language.mask, language.sentence.flip(1))
    assert (module(visual, other_sentence) - out).abs().mean() > 0.1 * out.std()
    assert (module(visual.flip(1), language) - out).abs().mean() > 0.1 * out.std()


def test_gradients_reach_both_inputs_but_no_parameter(sentences: Any) -> None:
    torch.manual_seed(0)
    module = FrozenRandom(8, 5).requires_grad_(False)
    visual = torch.randn(2, 8, 3, 4, requires_grad=True)
    language = sentences([3, 2], words=3, dim=5, dtype=torch.float32)
    language.sentence.requires_grad_()
    module(visual, language).square().sum().backward()
    assert visual.grad is not None
    assert language.sentence.grad is not None
    assert all(parameter.grad is None for parameter in module.parameters())
