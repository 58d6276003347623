"""LCGN against its equations, one round, word, node and edge at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from by_hand import Array, Layers, elu, softmax
from fusion_modules.lcgn import LCGN
from fusion_modules.position import sine_position_code


def commands(w: Layers, words: list[Array], sentence: Array, rounds: int) -> list[Array]:
    found = []
    for t in range(rounds):
        query = w.linear(f"command.of_round.{t}", np.tanh(w.linear("command.sentence", sentence)))
        weights = softmax([w["command.weigh.weight"][0] @ (query * word) for word in words])
        found.append(sum(weight * word for weight, word in zip(weights, words, strict=True)))
    return found


def round_of_messages(w: Layers, local: list[Array], context: list[Array], command: Array) -> list[Array]:
    m = "messages"
    nodes = [
        np.concatenate([at, about, w.linear(f"{m}.local", at) * w.linear(f"{m}.context", about)])
        for at, about in zip(local, context, strict=True)
    ]
    keys = [w.linear(f"{m}.key", node) * w.linear(f"{m}.command_key", command) for node in nodes]
    values = [w.linear(f"{m}.value", node) * w.linear(f"{m}.command_value", command) for node in nodes]
    new = []
    for node, about in zip(nodes, context, strict=True):
        query = w.linear(f"{m}.query", node)
        edges = softmax([query @ key / np.sqrt(len(query)) for key in keys])
        message = sum(edge * value for edge, value in zip(edges, values, strict=True))
        new.append(w.linear(f"{m}.update", np.append(about, message)))
    return new


def test_equals_the_papers_equations(sentences: Any, random_module: Any) -> None:
    module = random_module("lcgn", 4, 5, dim=6, rounds=3, position_dim=8)
    language = sentences([4, 2], words=4, dim=5)
    visual = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = Layers(module)
    code = sine_position_code(torch.empty(1, 8, 2, 3, dtype=torch.float64)).numpy()
    for b in range(2):
        words = [w.linear("command.words", word.numpy()) for word in language.words[b][language.mask[b]]]
        located = np.concatenate([visual[b].numpy(), code])
        local = [elu(w.linear("stem", located[:, y, x])) for y in range(2) for x in range(3)]
        context = [w["first_context"]] * 6
        for command in commands(w, words, language.sentence[b].numpy(), 3):
            context = round_of_messages(w, local, context, command)
        for node in range(6):
            expected = w.linear("combine", np.append(local[node], context[node]))
            np.testing.assert_allclose(out[b, :, node // 3, node % 3], expected, rtol=1e-10, atol=1e-10)


def test_nodes_of_a_larger_map_are_pooled_positions(sentences: Any, random_module: Any) -> None:
    """The four nodes are averages of 2 x 3 positions; every position keeps its own local features."""
    module = random_module("lcgn", 4, 5, dim=6, rounds=2, position_dim=8, positions=4)
    language = sentences([3], words=3, dim=5)
    visual = torch.randn(1, 4, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()[0]
    w = Layers(module)
    code = sine_position_code(torch.empty(1, 8, 4, 6, dtype=torch.float64)).numpy()
    local = elu(w.pointwise("stem", np.concatenate([visual[0].numpy(), code])))
    nodes = [local[:, y : y + 2, x : x + 3].mean(axis=(1, 2)) for y in (0, 2) for x in (0, 3)]
    context = [w["first_context"]] * 4
    words = [w.linear("command.words", word.numpy()) for word in language.words[0]]
    for command in commands(w, words, language.sentence[0].numpy(), 2):
        context = round_of_messages(w, nodes, context, command)
    for y in range(4):
        for x in range(6):
            about = context[2 * (y // 2) + x // 3]
            expected = w.linear("combine", np.append(local[:, y, x], about))
            np.testing.assert_allclose(out[:, y, x], expected, rtol=1e-10, atol=1e-10)


def test_padding_values_that_overflow_have_no_effect(sentences: Any) -> None:
    torch.manual_seed(0)
    module = LCGN(8, 6).half().eval()
    language = sentences([2, 3], words=4, dim=6, dtype=torch.float16)
    language.words[~language.mask] = 60000.0
    assert module(torch.randn(2, 8, 2, 3, dtype=torch.float16), language).isfinite().all()


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, e, p, r, h, w, t = 8, 5, 12, 16, 2, 4, 7, 6
    n = h * w
    once = n * (c + p) * e + t * d * e + d * e + n * 2 * e * e
    one_command = e * e + 2 * t * e
    one_round = 2 * n * e * e + 3 * n * 3 * e * e + 2 * e * e + 2 * n * n * e + n * 2 * e * e
    expected = once + r * (one_command + one_round)
    assert LCGN(c, d, dim=e, rounds=r, position_dim=p).multiply_adds(c, d, h, w, t) == expected


@pytest.mark.parametrize(
    "settings", [{"rounds": 0}, {"positions": 0}, {"position_dim": 6}, {"position_dim": 0}]
)
def test_settings_out_of_range_are_rejected(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^LCGN: rounds .* a multiple of 4$"):
        LCGN(8, 5, **settings)
