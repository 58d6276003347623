"""MAC against its equations, one step, word and position at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from by_hand import Array, Layers, elu, sigmoid, softmax
from fusion_modules.mac import MAC


def control(w: Layers, step: int, previous: Array, words: list[Array], sentence: Array) -> Array:
    question = w.linear("control.merge", np.append(previous, w.linear(f"control.position.{step}", sentence)))
    weights = softmax([w["control.weigh.weight"][0] @ (question * word) for word in words])
    return sum(weight * word for weight, word in zip(weights, words, strict=True))  # type: ignore[return-value]


def read(w: Layers, memory: Array, control: Array, knowledge: list[Array]) -> Array:
    joint_weight = np.concatenate(
        [w["read.joint_interaction.weight"], w["read.joint_knowledge.weight"]], axis=1
    )
    logits = []
    for k in knowledge:
        interaction = w.linear("read.memory", memory) * w.linear("read.knowledge", k)
        joint = joint_weight @ np.append(interaction, k)
        logits.append(w["read.weigh.weight"][0] @ (control * joint))
    return sum(weight * k for weight, k in zip(softmax(logits), knowledge, strict=True))  # type: ignore[return-value]


def write(w: Layers, module: MAC, information: Array, controls: list[Array], memories: list[Array]) -> Array:
    """Return the new memory; ``controls`` ends with the new control state, ``memories`` with the old memory."""
    *past, current = controls
    new = w.linear("write.merge", np.append(information, memories[-1]))
    if module.write.self_attention:
        weights = softmax([w["write.relate.weight"][0] @ (current * earlier) for earlier in past])
        recalled = sum(weight * memory for weight, memory in zip(weights, memories, strict=True))
        new = w["write.past.weight"] @ recalled + w.linear("write.present", new)
    if module.write.gated:
        kept = sigmoid(w.linear("write.gate", current))
        new = kept * memories[-1] + (1 - kept) * new
    return new


@pytest.mark.parametrize("self_attention", [False, True])
@pytest.mark.parametrize("gate", [False, True])
def test_equals_the_papers_equations(
    sentences: Any, random_module: Any, self_attention: bool, gate: bool
) -> None:
    module = random_module("mac", 4, 5, dim=6, steps=3, self_attention=self_attention, gate=gate)
    language = sentences([4, 2], words=4, dim=5)
    visual = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = Layers(module)
    for b in range(2):
        words = [w.linear("words", word.numpy()) for word in language.words[b][language.mask[b]]]
        sentence = language.sentence[b].numpy()
        knowledge = elu(w.pointwise("knowledge", visual[b].numpy()))
        positions = [knowledge[:, y, x] for y in range(2) for x in range(3)]
        controls, memories = [w["first_control"]], [w["first_memory"]]
        for step in range(3):
            controls.append(control(w, step, controls[-1], words, sentence))
            information = read(w, memories[-1], controls[-1], positions)
            memories.append(write(w, module, information, controls, memories))
        last = memories[-1]
        answer = w.linear("answer", np.append(last, sentence))
        for y in range(2):
            for x in range(3):
                k = knowledge[:, y, x]
                expected = elu(w.linear("positions", np.append(k, last * k)) + answer)
                np.testing.assert_allclose(out[b, :, y, x], expected, rtol=1e-10, atol=1e-10)


def test_a_gate_of_one_keeps_the_first_memory(sentences: Any, random_module: Any) -> None:
    """The gate multiplies the old memory, so with a gate of 1 the steps change nothing."""
    module = random_module("mac", 4, 5, steps=3, gate=True)
    other = random_module("mac", 4, 5, steps=3, gate=True)
    with torch.no_grad():
        for mac in (module, other):
            mac.write.gate.bias.fill_(1e4)
        other.write.merge.weight.normal_()
        language, visual = sentences([3], words=3, dim=5), torch.randn(1, 4, 2, 3, dtype=torch.float64)
        torch.testing.assert_close(module(visual, language), other(visual, language), rtol=1e-12, atol=1e-12)


def test_a_fresh_gate_favours_the_new_memory() -> None:
    assert MAC(8, 5, gate=True).write.gate.bias.item() == -1.0


def test_padding_values_that_overflow_have_no_effect(sentences: Any) -> None:
    torch.manual_seed(0)
    module = MAC(8, 6).half().eval()
    language = sentences([2, 3], words=4, dim=6, dtype=torch.float16)
    language.words[~language.mask] = 60000.0
    assert module(torch.randn(2, 8, 2, 3, dtype=torch.float16), language).isfinite().all()


def test_one_mask_drops_the_memory_in_all_steps(sentences: Any, random_module: Any) -> None:
    """Dropout 1 on the memory of the read unit makes the output independent of the projection of the memory."""
    module = random_module("mac", 4, 5, steps=2, dropout=1.0).train()
    module.read.dropout = 0.0
    language, visual = sentences([3], words=3, dim=5), torch.randn(1, 4, 2, 3, dtype=torch.float64)
    before = module(visual, language)
    with torch.no_grad():
        module.read.memory.weight.normal_()
    torch.testing.assert_close(module(visual, language), before, rtol=1e-12, atol=1e-12)


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, e, p, h, w, t = 8, 5, 12, 3, 4, 7, 6
    n = h * w
    once = t * d * e + n * c * e + 2 * n * e * e + n * 2 * e * c + (e + d) * c
    controls = d * e + 2 * e * e + 2 * t * e
    reads = e * e + n * e * e + 2 * n * e
    writes = 2 * e * e
    expected = once + p * (controls + reads + writes)
    assert MAC(c, d, dim=e, steps=p).multiply_adds(c, d, h, w, t) == expected


def test_zero_steps_are_rejected() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        MAC(8, 5, steps=0)
