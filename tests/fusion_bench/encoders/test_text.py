"""The text encoder against a packed nn.GRU and, for one sentence, against nn.GRU run on it alone."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusion_bench.encoders.text import GruEncoder

Directions = Literal["forward", "both"]
DIRECTIONS = pytest.mark.parametrize("directions", ["forward", "both"])


def batch(lengths: tuple[int, ...] = (3, 6, 1), words: int = 6) -> tuple[Tensor, Tensor]:
    mask = torch.arange(words) < torch.tensor(lengths)[:, None]
    tokens = torch.randint(2, 20, mask.shape, generator=torch.Generator().manual_seed(1))
    return tokens * mask, mask


def encoder(**settings: object) -> GruEncoder:
    torch.manual_seed(0)
    return GruEncoder(20, embedding=5, hidden=4, **settings).eval()  # type: ignore[arg-type]


@DIRECTIONS
def test_equals_a_packed_gru(directions: Directions) -> None:
    model = encoder(directions=directions)
    tokens, mask = batch()
    twin = nn.GRU(5, 4, batch_first=True, bidirectional=directions == "both")
    twin.load_state_dict(model.gru.state_dict())
    packed = pack_padded_sequence(
        model.embedding(tokens), mask.sum(1), batch_first=True, enforce_sorted=False
    )
    states, last = twin(packed)
    words, _ = pad_packed_sequence(states, batch_first=True)
    language = model(tokens, mask)
    torch.testing.assert_close(language.words, words, rtol=0, atol=1e-6)
    torch.testing.assert_close(language.sentence, torch.cat(list(last), dim=1), rtol=0, atol=1e-6)


@DIRECTIONS
def test_a_sentence_gives_the_same_alone_without_padding(directions: Directions) -> None:
    """``sentence`` is the state after the last real word, and after the first word in the backward direction."""
    model = encoder(directions=directions)
    tokens, mask = batch()
    language = model(tokens, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        words, last = model.gru(model.embedding(tokens[row : row + 1, :length]))
        torch.testing.assert_close(language.words[row, :length], words[0])
        torch.testing.assert_close(language.sentence[row], last[:, 0].flatten())


@pytest.mark.parametrize("sentence", ["last", "attention"])
def test_padding_changes_nothing(sentence: str) -> None:
    model = encoder(sentence=sentence)
    tokens, mask = batch()
    clean, dirty = model(tokens, mask), model(torch.where(mask, tokens, 9), mask)
    assert torch.equal(clean.words, dirty.words)
    assert torch.equal(clean.sentence, dirty.sentence)


@torch.no_grad()
def test_attention_weights_the_real_words() -> None:
    model = encoder(sentence="attention")
    tokens, mask = batch()
    language = model(tokens, mask)
    assert model.score is not None
    for row, length in enumerate(mask.sum(1).tolist()):
        words = language.words[row, :length]
        weights = torch.tensor([float(model.score(word)) for word in words]).softmax(0)
        torch.testing.assert_close(language.sentence[row], weights @ words)


@pytest.mark.parametrize(("directions", "dim"), [("forward", 4), ("both", 8)])
def test_declares_its_width(directions: Directions, dim: int) -> None:
    model = encoder(directions=directions)
    language = model(*batch())
    assert model.language_dim == language.words.shape[2] == language.sentence.shape[1] == dim


def test_trains_under_bfloat16_autocast() -> None:
    model = encoder(sentence="attention").train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        language = model(*batch())
    language.sentence.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
