"""The text encoder of LaConvNet against an independent derivation, word by word."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from fusion_bench.contract import TextEncoder, multiply_adds_of
from fusion_modules.laconvnet import LaConvNetText

Array = npt.NDArray[np.float64]
LENGTHS = (5, 1, 3)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


class ByHand:
    """The encoder for one sentence without padding, computed from its weights by name."""

    def __init__(self, module: LaConvNetText, heads: int) -> None:
        self.w: dict[str, Array] = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
        self.heads = heads

    def linear(self, name: str, x: Array) -> Array:
        return self.w[f"{name}.weight"] @ x + self.w[f"{name}.bias"]

    def norm(self, name: str, x: Array) -> Array:
        mean = sum(x) / len(x)
        std = math.sqrt(sum((value - mean) ** 2 for value in x) / (len(x) - 1))
        return self.w[f"{name}.weight"] * (x - mean) / (std + 1e-6) + self.w[f"{name}.bias"]

    def gru(self, vectors: list[Array]) -> list[Array]:
        """Return the states; the gates are in the order reset, update, new."""
        weight_in, weight_state = self.w["gru.weight_ih_l0"], self.w["gru.weight_hh_l0"]
        bias_in, bias_state = self.w["gru.bias_ih_l0"], self.w["gru.bias_hh_l0"]
        state = np.zeros(weight_state.shape[1])
        states = []
        for vector in vectors:
            from_word = np.split(weight_in @ vector + bias_in, 3)
            from_state = np.split(weight_state @ state + bias_state, 3)
            reset, update = sigmoid(from_word[0] + from_state[0]), sigmoid(from_word[1] + from_state[1])
            new = np.tanh(from_word[2] + reset * from_state[2])
            state = (1 - update) * new + update * state
            states.append(state)
        return states

    def attend(self, states: list[Array]) -> list[Array]:
        size = len(states[0]) // self.heads
        keys = [self.linear("attention.key", state) for state in states]
        values = [self.linear("attention.value", state) for state in states]
        answers = []
        for state in states:
            query, answer = self.linear("attention.query", state), np.zeros_like(state)
            for head in range(self.heads):
                part = slice(head * size, (head + 1) * size)
                weights = [math.exp(query[part] @ key[part] / math.sqrt(size)) for key in keys]
                for weight, value in zip(weights, values, strict=True):
                    answer[part] += weight / sum(weights) * value[part]
            answers.append(self.linear("attention.merge", answer))
        return answers

    def encode(self, tokens: list[int]) -> tuple[list[Array], Array]:
        """Return the words and the sentence."""
        states = self.gru([self.w["embedding.weight"][token] for token in tokens])
        words = []
        for state, answer in zip(states, self.attend(states), strict=True):
            attended = self.norm("attention_norm", state + answer)
            hidden = np.maximum(self.linear("expand", attended), 0)
            words.append(self.norm("feedforward_norm", attended + self.linear("contract", hidden)))
        scores = [
            math.exp(self.linear("pool.score", np.maximum(self.linear("pool.hidden", word), 0))[0])
            for word in words
        ]
        pooled = sum(score / sum(scores) * word for score, word in zip(scores, words, strict=True))
        return words, self.linear("pool.merge", np.asarray(pooled))


def encoder(**settings: float) -> LaConvNetText:
    torch.manual_seed(4)
    made = LaConvNetText(20, embedding=6, hidden=8, heads=2, feedforward=12, **settings)  # type: ignore[arg-type]
    made.double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
    return made


def sentences() -> tuple[Tensor, Tensor]:
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    tokens = torch.randint(1, 20, mask.shape, generator=torch.Generator().manual_seed(9))
    return tokens * mask, mask


def test_equals_the_encoder_computed_by_hand() -> None:
    made, (tokens, mask) = encoder(), sentences()
    with torch.no_grad():
        language = made(tokens, mask)
    by_hand = ByHand(made, heads=2)
    for row, length in enumerate(LENGTHS):
        words, sentence = by_hand.encode(tokens[row, :length].tolist())
        np.testing.assert_allclose(language.words[row, :length], np.stack(words), rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(language.sentence[row], sentence, rtol=1e-10, atol=1e-10)
    assert torch.equal(language.mask, mask)


def test_padding_holds_finite_numbers_and_changes_no_word() -> None:
    made, (tokens, mask) = encoder(), sentences()
    with torch.no_grad():
        short = made(tokens, mask)
        long = made(torch.cat((tokens, tokens), dim=1), torch.cat((mask, torch.zeros_like(mask)), dim=1))
    assert torch.isfinite(long.words).all()
    torch.testing.assert_close(long.words[:, :5][mask], short.words[mask], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(long.sentence, short.sentence, rtol=1e-12, atol=1e-12)


def test_every_weight_but_the_padding_embedding_gets_a_gradient() -> None:
    made, (tokens, mask) = encoder(), sentences()
    language = made(tokens, mask)
    (language.words[mask].square().sum() + language.sentence.square().sum()).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0 or name.endswith("key.bias"), (
            name
        )  # the bias of a key cancels in the softmax
    assert made.embedding.weight.grad is not None
    assert made.embedding.weight.grad[0].abs().max() == 0


def test_dropout_acts_in_training_only() -> None:
    tokens, mask = sentences()
    made = encoder(dropout=0.5)
    with torch.no_grad():
        assert torch.equal(made(tokens, mask).words, made(tokens, mask).words)
        made.train()
        once, again = made(tokens, mask), made(tokens, mask)
    assert not torch.equal(once.words, again.words)
    assert not torch.equal(once.sentence, again.sentence)


def test_norms_are_computed_in_float32_under_autocast() -> None:
    made, (tokens, mask) = encoder().float(), sentences()
    exact = made(tokens, mask)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made(tokens, mask)
    assert rounded.words.dtype == torch.float32
    torch.testing.assert_close(rounded.words[mask], exact.words[mask], rtol=0.1, atol=0.1)


def test_has_the_parameters_and_multiply_adds_of_the_released_networks() -> None:
    """The counts are for a vocabulary of 1000 and 15 words: GRU, projections, attention, perceptron, pooling."""
    with torch.device("meta"):
        made = LaConvNetText(1000)
    assert isinstance(made, TextEncoder)
    assert made.language_dim == 512
    assert sum(parameter.numel() for parameter in made.parameters()) == 5_096_929
    words, dim = 15, 512
    per_word = 3 * dim * (300 + dim) + 4 * dim * dim + 2 * words * dim + 2 * dim * 2048
    pooling = words * (dim * 256 + 256 + dim) + dim * dim
    tokens = torch.ones(1, words, dtype=torch.int64, device="meta")
    assert multiply_adds_of(made, tokens, tokens.bool()) == words * per_word + pooling


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match=r"heads .8. must divide hidden .20."):
        LaConvNetText(10, hidden=20)
