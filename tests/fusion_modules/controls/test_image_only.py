"""The control ``image_only`` against FiLM with constant scale and offset."""

from __future__ import annotations

from typing import Any

import torch

from fusion_modules.controls.image_only import ImageOnly


def test_equals_film_with_a_plain_affine_norm(sentences: Any, random_module: Any) -> None:
    """FiLM with gamma and beta that do not depend on the sentence gives the same map."""
    image_only = random_module("image_only", 6, 5)
    film = random_module("film", 6, 5)
    film.reduce.load_state_dict(image_only.reduce.state_dict())
    film.conv.load_state_dict(image_only.conv.state_dict())
    film.norm.running_mean.copy_(image_only.norm.running_mean)
    film.norm.running_var.copy_(image_only.norm.running_var)
    with torch.no_grad():
        film.generator.weight.zero_()
        film.generator.bias.copy_(torch.cat((image_only.norm.weight - 1, image_only.norm.bias)))
        visual, language = torch.randn(2, 6, 3, 4, dtype=torch.float64), sentences([3, 2], words=3, dim=5)
        torch.testing.assert_close(
            image_only(visual, language), film(visual, language), rtol=1e-12, atol=1e-12
        )


def test_multiply_adds_are_those_of_its_layers() -> None:
    c, d, h, w = 16, 12, 5, 7
    assert ImageOnly(c, d).multiply_adds(c, d, h, w, words=4) == ((c + 2) * c + 9 * c * c) * h * w
