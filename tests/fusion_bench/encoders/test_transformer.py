"""The transformer against torch's own layers, and its position codes against their formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fusion_bench.contract import multiply_adds_of
from fusion_bench.encoders.transformer import Block, TransformerEncoder, positions


def batch(lengths: tuple[int, ...] = (3, 6, 1), words: int = 6) -> tuple[Tensor, Tensor]:
    mask = torch.arange(words) < torch.tensor(lengths)[:, None]
    tokens = torch.randint(2, 20, mask.shape, generator=torch.Generator().manual_seed(1))
    return tokens * mask, mask


def encoder(**settings: object) -> TransformerEncoder:
    torch.manual_seed(0)
    return TransformerEncoder(20, **{"width": 8, "heads": 2, **settings}).eval()  # type: ignore[arg-type]


def torch_layer(block: Block, width: int, heads: int) -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(
        width, heads, 4 * width, 0.0, nn.functional.gelu, batch_first=True, norm_first=True
    )
    names = {
        "attention_norm": "norm1",
        "feedforward_norm": "norm2",
        "expand": "linear1",
        "contract": "linear2",
        "merge": "self_attn.out_proj",
        "query_key_value.weight": "self_attn.in_proj_weight",
        "query_key_value.bias": "self_attn.in_proj_bias",
    }
    state = {}
    for key, value in block.state_dict().items():
        old = next(name for name in names if key.startswith(name))
        state[key.replace(old, names[old])] = value
    layer.load_state_dict(state)
    return layer


def test_equals_torchs_own_layers() -> None:
    model = encoder(layers=3)
    tokens, mask = batch()
    words = model.embedding(tokens) + positions(6, 8, tokens.device)
    for block in model.blocks:
        # In training mode torch takes its ordinary path; there is no dropout here.
        words = torch_layer(block, 8, 2).train()(words, src_key_padding_mask=~mask)
    words = model.norm(words)
    language = model(tokens, mask)
    torch.testing.assert_close(language.words[mask], words[mask])
    for row, length in enumerate(mask.sum(1).tolist()):
        torch.testing.assert_close(language.sentence[row], words[row, :length].mean(0))
    assert not language.words[~mask].any()


def test_positions_are_sines_and_cosines() -> None:
    found = positions(5, 6, torch.device("cpu"))
    for step in range(5):
        for pair in range(3):
            angle = step / 10_000 ** (2 * pair / 6)
            assert float(found[step, 2 * pair]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(found[step, 2 * pair + 1]) == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_sentence_gives_the_same_alone_without_padding() -> None:
    model = encoder()
    tokens, mask = batch()
    together = model(tokens, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = model(tokens[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(together.words[row, :length], alone.words[0])
        torch.testing.assert_close(together.sentence[row], alone.sentence[0])


def test_padding_changes_nothing() -> None:
    model = encoder()
    tokens, mask = batch()
    clean, dirty = model(tokens, mask), model(torch.where(mask, tokens, 9), mask)
    assert torch.equal(clean.words, dirty.words)
    assert torch.equal(clean.sentence, dirty.sentence)


def test_the_order_of_words_matters() -> None:
    model = encoder()
    tokens = torch.tensor([[2, 3, 4], [4, 3, 2]])
    one, other = model(tokens, tokens != 0).sentence
    assert not torch.allclose(one, other, atol=1e-3)


def test_multiply_adds_match_a_count_by_hand() -> None:
    tokens = torch.ones(1, 5, dtype=torch.int64)
    width, words, layers = 8, 5, 2
    a_layer = words * 12 * width**2 + 2 * words * words * width
    assert multiply_adds_of(encoder(layers=layers), tokens, tokens != 0) == layers * a_layer


@pytest.mark.parametrize("settings", [{"width": 9, "heads": 3}, {"width": 8, "heads": 3}])
def test_a_width_that_cannot_be_split_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be even and a multiple of heads"):
        encoder(**settings)


def test_trains_under_bfloat16_autocast() -> None:
    model = encoder(dropout=0.5).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        language = model(*batch())
    language.sentence.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
