"""The condition map of LaConv, from the words and from the sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fusion_bench.contract import Language
from fusion_modules.laconv.condition import Norm, SentenceCondition, WordCondition, norm_layer

C, D, E = 8, 5, 6


def word_condition(**settings: Any) -> WordCondition:
    """Return a `WordCondition` in float64 and evaluation mode, by default without a norm."""
    torch.manual_seed(3)
    plain: dict[str, Any] = {"dim": E, "packing": 1, "heads": 2, "dropout": 0.0, "position": "sine"}
    return WordCondition(C, D, **(plain | {"norm": "none"} | settings)).double().eval()


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach() for key, value in module.state_dict().items()}


def image(height: int = 3, width: int = 5, samples: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, C, height, width, generator=generator, dtype=torch.float64)


def test_the_attention_is_the_softmax_over_real_words(sentences: Any) -> None:
    """The expectation is an einsum over one head, without position code and packing."""
    condition = word_condition(heads=1, position="none")
    language: Language = sentences([4, 2], words=4, dim=D)
    w = weights_of(condition)
    q = torch.einsum("ec,bchw->behw", w["query.weight"][:, :, 0, 0], image()) + w["query.bias"][:, None, None]
    k = torch.einsum("ed,btd->bte", w["key.weight"], language.words) + w["key.bias"]
    exponentials = torch.einsum("bte,behw->bthw", k, q).div(E**0.5).exp() * language.mask[:, :, None, None]
    expected = exponentials / exponentials.sum(dim=1, keepdim=True)
    with torch.no_grad():
        torch.testing.assert_close(condition.attention(image(), language), expected, rtol=1e-12, atol=1e-12)


def test_the_attention_is_averaged_over_heads(sentences: Any) -> None:
    """The attention of two heads is the mean of two attentions with one head of half the width each."""
    both, language = word_condition(heads=2), sentences([4, 2], words=4, dim=D)
    halves = []
    for half in (slice(0, E // 2), slice(E // 2, E)):
        one_head = word_condition(heads=1, dim=E // 2)
        for key, value in one_head.state_dict().items():
            if key.startswith(("query", "key")):
                value.copy_(both.state_dict()[key][half])
        halves.append(one_head.attention(image(), language))
    assert not torch.allclose(halves[0], halves[1])
    expected = (halves[0] + halves[1]) / 2
    torch.testing.assert_close(both.attention(image(), language), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("packing", [1, 2, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (5, 7)])
def test_any_size_of_map_and_sentence_is_accepted(
    sentences: Any, packing: int, height: int, width: int
) -> None:
    for lengths in ([1, 1], [3, 1]):
        language = sentences(lengths, words=max(lengths), dim=D)
        assert word_condition(packing=packing)(image(height, width), language).shape == (2, E, height, width)


def test_packing_pads_with_zeros(sentences: Any) -> None:
    """Squares that extend beyond the map read zeros there, not values of another map or a position code."""
    condition = word_condition(packing=4)
    language = sentences([3], words=3, dim=D)
    with torch.no_grad():
        # Query weights of the 16 positions of the only square; those outside a 3 x 2 map must have no effect.
        weights = condition.query.weight.view(E, C, 4, 4)
        before = condition(image(3, 2, samples=1), language)
        weights[:, :, 3, :] = 100.0
        weights[:, :, :, 2:] = 100.0
        assert torch.equal(condition(image(3, 2, samples=1), language), before)
        weights[:, :, 2, 1] = 100.0
        assert not torch.equal(condition(image(3, 2, samples=1), language), before)


def test_only_the_position_code_distinguishes_positions_of_an_empty_map(sentences: Any) -> None:
    empty, language = torch.zeros_like(image()), sentences([4, 4], words=4, dim=D)
    condition_map = word_condition(position="none")(empty, language)
    torch.testing.assert_close(condition_map, condition_map[..., :1, :1].expand_as(condition_map))
    located = word_condition()(empty, language)
    assert not torch.allclose(located, located[..., :1, :1].expand_as(located))


def test_attention_dropout_drops_the_words_of_a_position(sentences: Any) -> None:
    """One head and one word: with probability 1/2 the attended value is V / (1/2), else zero."""
    condition = word_condition(heads=1, dropout=0.5).train()
    language = sentences([1], words=1, dim=D)
    visual = image(20, 20, samples=1)
    with torch.no_grad():
        condition_map = condition(visual, language)[0]
        twice = 2 * condition.value(language.words[0, 0])
        kept = torch.relu(condition.merge(twice[:, None, None]))
        dropped = torch.relu(condition.merge(torch.zeros(E, 1, 1, dtype=torch.float64)))
    is_kept = torch.isclose(condition_map, kept).all(dim=0)
    is_dropped = torch.isclose(condition_map, dropped).all(dim=0)
    assert (is_kept ^ is_dropped).all()
    assert 140 < is_kept.sum() < 260
    assert torch.equal(condition.attention(visual, language), torch.ones(1, 1, 20, 20, dtype=torch.float64))


def test_the_sentence_condition_is_the_same_at_every_position(sentences: Any) -> None:
    torch.manual_seed(3)
    condition = SentenceCondition(D, dim=E, norm="none").double()
    language: Language = sentences([4, 2], words=4, dim=D)
    w = weights_of(condition)
    v = torch.einsum("ed,bd->be", w["value.weight"], language.sentence) + w["value.bias"]
    m = torch.einsum("fe,be->bf", w["merge.weight"][:, :, 0, 0], v) + w["merge.bias"]
    expected = m.clamp(min=0)[:, :, None, None].expand(2, E, 3, 5)
    torch.testing.assert_close(condition(image(), language), expected, rtol=1e-12, atol=1e-12)


def test_the_sentence_condition_gives_equal_weights_to_all_words(sentences: Any) -> None:
    condition = SentenceCondition(D, dim=E, norm="none").double()
    shares = condition.attention(image(), sentences([4, 2], words=4, dim=D))
    assert shares.shape == (2, 4, 3, 5)
    assert (shares[0] == 0.25).all()
    assert (shares[1, :2] == 0.5).all()
    assert (shares[1, 2:] == 0).all()


def test_a_batch_of_one_sentence_can_be_trained(sentences: Any) -> None:
    """A batch norm over a batch of one has one value per position, so it does not raise an error."""
    condition = SentenceCondition(D, dim=E, norm="batch").double().train()
    condition_map = condition(image(samples=1), sentences([2], words=2, dim=D))
    torch.testing.assert_close(
        condition_map, torch.zeros_like(condition_map), msg="equal values have no variance"
    )


@pytest.mark.parametrize(
    ("norm", "channels", "groups"),
    [("group", 64, 8), ("group", 12, 4), ("group", 6, 2), ("group", 5, 1), ("batch", 6, 0), ("none", 6, 0)],
)
def test_norms_are_the_named_ones(norm: Norm, channels: int, groups: int) -> None:
    made = norm_layer(norm, channels)
    kinds = {"batch": torch.nn.BatchNorm2d, "group": torch.nn.GroupNorm, "none": torch.nn.Identity}
    assert type(made) is kinds[norm]
    assert getattr(made, "num_groups", 0) == groups
