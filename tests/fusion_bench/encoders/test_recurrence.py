"""The recurrence of the GRU against torch's own on packed sentences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusion_bench.encoders.recurrence import gru_states


def packed_states(gru: nn.GRU, vectors: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Return the words and last states of torch's packed form."""
    packed = pack_padded_sequence(vectors, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    states, last = gru(packed)
    words, _ = pad_packed_sequence(states, batch_first=True, total_length=vectors.shape[1])
    return words, last


@pytest.mark.parametrize("bidirectional", [False, True])
@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5), extra=st.integers(0, 2))
def test_states_and_gradients_are_those_of_packed_sentences(
    bidirectional: bool, lengths: list[int], extra: int
) -> None:
    torch.manual_seed(0)
    gru = nn.GRU(3, 4, batch_first=True, bidirectional=bidirectional).double()
    longest = max(lengths) + extra  # a batch may have padding in every row
    vectors = torch.randn(len(lengths), longest, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    found, expected = gru_states(gru, vectors, mask), packed_states(gru, vectors, lengths)
    weights = [torch.randn_like(value) for value in expected]
    wanted = [vectors, *gru.parameters()]
    ours, theirs = (
        torch.autograd.grad(
            sum((value * weight).sum() for value, weight in zip(values, weights, strict=True)), wanted
        )
        for values in (found, expected)
    )
    for one, other in zip((*found, *ours), (*expected, *theirs), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_what_stands_in_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    gru = nn.GRU(3, 4, batch_first=True, bidirectional=True)
    vectors, mask = torch.randn(2, 5, 3), torch.arange(5) < torch.tensor([[5], [2]])
    other = torch.where(mask[..., None], vectors, 1e6)
    for one, two in zip(gru_states(gru, vectors, mask), gru_states(gru, other, mask), strict=True):
        assert torch.equal(one, two)


def test_the_gradient_of_padding_is_zero_even_where_states_of_padding_are_read() -> None:
    torch.manual_seed(0)
    gru = nn.GRU(3, 4, batch_first=True, bidirectional=True)
    vectors = torch.randn(2, 5, 3, requires_grad=True)
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    words, last = gru_states(gru, vectors, mask)
    (grad,) = torch.autograd.grad(words.sum() + last.sum(), vectors)
    assert (grad[1, 2:] == 0).all()
    assert (grad[mask] != 0).all()
