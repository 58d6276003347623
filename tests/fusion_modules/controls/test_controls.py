"""The controls compute what they say and nothing else."""

from __future__ import annotations

from typing import Any

import torch

from fusion_modules.controls.image_only import ImageOnly
from fusion_modules.controls.late_concat import LateConcat
from fusion_modules.controls.prior import Prior
from fusion_modules.controls.question_only import QuestionOnly


def test_question_only_is_a_perceptron_of_the_sentence_at_every_position(sentences: Any, drawn: Any) -> None:
    module = drawn("question_only", 6, 5, hidden=7)
    language = sentences([3, 2], words=3, dim=5)
    first, _, second, _ = module.mlp
    with torch.no_grad():
        out = module(torch.randn(2, 6, 3, 4, dtype=torch.float64), language)
        for b in range(2):
            hidden = (first.weight @ language.sentence[b] + first.bias).clamp(min=0)
            expected = (second.weight @ hidden + second.bias).clamp(min=0)
            torch.testing.assert_close(
                out[b], expected[:, None, None].expand(6, 3, 4), rtol=1e-12, atol=1e-12
            )


def test_image_only_is_film_with_a_plain_affine_norm(sentences: Any, drawn: Any) -> None:
    """FiLM whose gamma and beta do not hear the sentence gives the same map."""
    image_only = drawn("image_only", 6, 5)
    film = drawn("film", 6, 5)
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


def test_prior_is_one_learned_vector_everywhere(sentences: Any, drawn: Any) -> None:
    module = drawn("prior", 6, 5)
    out = module(torch.randn(2, 6, 3, 4, dtype=torch.float64), sentences([3, 2], words=3, dim=5))
    assert torch.equal(out, module.constant[:, None, None].expand(2, 6, 3, 4))
    assert [name for name, _ in module.named_parameters()] == ["constant"]


def test_late_concat_alone_lets_the_head_see_the_sentence() -> None:
    assert LateConcat.sentence_at_head
    assert not any(module.sentence_at_head for module in (QuestionOnly, ImageOnly, Prior))
    assert LateConcat(8, 5).state_dict().keys() == ImageOnly(8, 5).state_dict().keys()


def test_multiply_adds_are_those_of_their_layers() -> None:
    c, d, h, w = 16, 12, 5, 7
    assert QuestionOnly(c, d).multiply_adds(c, d, h, w, words=4) == d * 2 * c + 2 * c * c
    assert ImageOnly(c, d).multiply_adds(c, d, h, w, words=4) == ((c + 2) * c + 9 * c * c) * h * w
    assert Prior(c, d).multiply_adds(c, d, h, w, words=4) == 0
