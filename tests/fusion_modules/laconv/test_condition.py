"""What a position hears: the words that it attends to, or the sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fusion_bench.contract import Language
from fusion_modules.laconv.condition import Norm, SentenceCondition, WordCondition, normalisation

C, D, E = 8, 5, 6


def listener(**settings: Any) -> WordCondition:
    """A condition of words in float64 and evaluation mode, without norm unless asked for."""
    torch.manual_seed(3)
    plain: dict[str, Any] = {"dim": E, "packing": 1, "heads": 2, "dropout": 0.0, "position": "sine"}
    return WordCondition(C, D, **(plain | {"norm": "none"} | settings)).double().eval()


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach() for key, value in module.state_dict().items()}


def image(height: int = 3, width: int = 5, samples: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, C, height, width, generator=generator, dtype=torch.float64)


def test_the_attention_is_the_softmax_over_real_words(sentences: Any) -> None:
    """By einsum over one head that asks with the map itself: no position code, no packing."""
    condition = listener(heads=1, position="none")
    language: Language = sentences([4, 2], words=4, dim=D)
    w = weights_of(condition)
    q = torch.einsum("ec,bchw->behw", w["query.weight"][:, :, 0, 0], image()) + w["query.bias"][:, None, None]
    k = torch.einsum("ed,btd->bte", w["key.weight"], language.words) + w["key.bias"]
    exponentials = torch.einsum("bte,behw->bthw", k, q).div(E**0.5).exp() * language.mask[:, :, None, None]
    expected = exponentials / exponentials.sum(dim=1, keepdim=True)
    with torch.no_grad():
        torch.testing.assert_close(condition.attention(image(), language), expected, rtol=1e-12, atol=1e-12)


def test_heads_are_averaged_for_the_eye(sentences: Any) -> None:
    """What two heads show is the mean of what each half of the widths shows as the only head."""
    both, language = listener(heads=2), sentences([4, 2], words=4, dim=D)
    halves = []
    for half in (slice(0, E // 2), slice(E // 2, E)):
        alone = listener(heads=1, dim=E // 2)
        for key, value in alone.state_dict().items():
            if key.startswith(("query", "key")):
                value.copy_(both.state_dict()[key][half])
        halves.append(alone.attention(image(), language))
    assert not torch.allclose(halves[0], halves[1])
    expected = (halves[0] + halves[1]) / 2
    torch.testing.assert_close(both.attention(image(), language), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("packing", [1, 2, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (5, 7)])
def test_any_size_of_map_and_sentence_is_heard(sentences: Any, packing: int, height: int, width: int) -> None:
    for lengths in ([1, 1], [3, 1]):
        language = sentences(lengths, words=max(lengths), dim=D)
        assert listener(packing=packing)(image(height, width), language).shape == (2, E, height, width)


def test_what_lies_beyond_the_map_is_nothing(sentences: Any) -> None:
    """Packing squares that hang over the border see zeros there, not another map's values or a position code."""
    condition = listener(packing=4)
    language = sentences([3], words=3, dim=D)
    with torch.no_grad():
        # Query weights of the one square's 16 places; those beyond a 3 x 2 map must not matter.
        places = condition.query.weight.view(E, C, 4, 4)
        before = condition(image(3, 2, samples=1), language)
        places[:, :, 3, :] = 100.0
        places[:, :, :, 2:] = 100.0
        assert torch.equal(condition(image(3, 2, samples=1), language), before)
        places[:, :, 2, 1] = 100.0
        assert not torch.equal(condition(image(3, 2, samples=1), language), before)


def test_a_map_without_features_is_told_apart_by_the_position_code_alone(sentences: Any) -> None:
    blank, language = torch.zeros_like(image()), sentences([4, 4], words=4, dim=D)
    heard = listener(position="none")(blank, language)
    torch.testing.assert_close(heard, heard[..., :1, :1].expand_as(heard))
    located = listener()(blank, language)
    assert not torch.allclose(located, located[..., :1, :1].expand_as(located))


def test_attention_dropout_drops_a_position_s_words(sentences: Any) -> None:
    """One head and one word: with probability 1/2 the answer is V / (1/2), else nothing at all."""
    condition = listener(heads=1, dropout=0.5).train()
    language = sentences([1], words=1, dim=D)
    visual = image(20, 20, samples=1)
    with torch.no_grad():
        heard = condition(visual, language)[0]
        twice = 2 * condition.value(language.words[0, 0])
        kept = torch.relu(condition.merge(twice[:, None, None]))
        dropped = torch.relu(condition.merge(torch.zeros(E, 1, 1, dtype=torch.float64)))
    is_kept = torch.isclose(heard, kept).all(dim=0)
    is_dropped = torch.isclose(heard, dropped).all(dim=0)
    assert (is_kept ^ is_dropped).all()
    assert 140 < is_kept.sum() < 260
    assert torch.equal(condition.attention(visual, language), torch.ones(1, 1, 20, 20, dtype=torch.float64))


def test_the_sentence_is_heard_alike_everywhere(sentences: Any) -> None:
    torch.manual_seed(3)
    condition = SentenceCondition(D, dim=E, norm="none").double()
    language: Language = sentences([4, 2], words=4, dim=D)
    w = weights_of(condition)
    v = torch.einsum("ed,bd->be", w["value.weight"], language.sentence) + w["value.bias"]
    m = torch.einsum("fe,be->bf", w["merge.weight"][:, :, 0, 0], v) + w["merge.bias"]
    expected = m.clamp(min=0)[:, :, None, None].expand(2, E, 3, 5)
    torch.testing.assert_close(condition(image(), language), expected, rtol=1e-12, atol=1e-12)


def test_a_sentence_prefers_no_word(sentences: Any) -> None:
    condition = SentenceCondition(D, dim=E, norm="none").double()
    shares = condition.attention(image(), sentences([4, 2], words=4, dim=D))
    assert shares.shape == (2, 4, 3, 5)
    assert (shares[0] == 0.25).all()
    assert (shares[1, :2] == 0.5).all()
    assert (shares[1, 2:] == 0).all()


def test_one_sentence_can_be_trained_on_alone(sentences: Any) -> None:
    """A batch norm over a batch of one sees as many values as there are positions, so it does not refuse."""
    condition = SentenceCondition(D, dim=E, norm="batch").double().train()
    heard = condition(image(samples=1), sentences([2], words=2, dim=D))
    torch.testing.assert_close(heard, torch.zeros_like(heard), msg="equal values have no variance")


@pytest.mark.parametrize(
    ("norm", "channels", "groups"),
    [("group", 64, 8), ("group", 12, 4), ("group", 6, 2), ("group", 5, 1), ("batch", 6, 0), ("none", 6, 0)],
)
def test_norms_are_the_named_ones(norm: Norm, channels: int, groups: int) -> None:
    made = normalisation(norm, channels)
    kinds = {"batch": torch.nn.BatchNorm2d, "group": torch.nn.GroupNorm, "none": torch.nn.Identity}
    assert type(made) is kinds[norm]
    assert getattr(made, "num_groups", 0) == groups
