"""Checks of a forward pass: shapes, determinism, state, independence of samples, padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fusion_bench.checking.subject import (
    CheckFailed,
    Subject,
    batch_norms,
    image,
    language,
    require_same,
)
from fusion_bench.contract import Language
from fusion_bench.foreign import message_of

_SIZES = ((4, 6), (5, 7), (7, 1), (1, 1))


def shape(subject: Subject) -> str:
    """``[B, C, H, W]`` becomes ``[B, out_dim, H, W]``, also for odd sizes, 1x1, one word and one sample."""
    module = subject.fresh()
    cases: list[tuple[tuple[int, int], tuple[int, ...], int]] = [(size, (5, 1, 3), 5) for size in _SIZES]
    cases += [((4, 6), (1, 1), 1), ((4, 6), (2,), 5), ((1, 1), (1,), 1)]
    for (height, width), lengths, words in cases:
        seen = image(len(lengths), height, width, dtype=torch.float32)
        heard = language(lengths, words=words, dtype=torch.float32)
        given = f"a {height}x{width} map, {len(lengths)} samples, {words} words"
        try:
            out = module(seen, heard)
        except Exception as error:
            raise CheckFailed(
                f"{given}: {message_of(error)}",
                "the contract holds for every size from 1x1, every number of words and of samples from 1",
            ) from error
        expected = (len(lengths), module.out_dim, height, width)
        if tuple(out.shape) != expected:
            raise CheckFailed(
                f"{given}: the output is {tuple(out.shape)}, not {expected}",
                "return [B, out_dim, H, W] with the input's H and W",
            )
    return f"{len(cases)} sizes"


def deterministic(subject: Subject) -> str:
    """The seed determines the parameters and, in training mode, the dropout; evaluation is deterministic."""
    inputs = (image(), language())
    states = [subject.fresh(seed=3).state_dict() for _ in range(2)]
    for name, value in states[0].items():
        if not torch.equal(value, states[1][name]):
            raise CheckFailed(
                f"two modules built from one seed differ in {name}",
                "draw initial values with torch's global generator alone",
            )
    module = subject.perturbed()
    for mode in ("eval", "train"):
        module.train(mode == "train")
        outputs = []
        for seed in (5, 5 if mode == "train" else 6):
            torch.manual_seed(seed)
            outputs.append(module(*inputs))
        if not torch.equal(*outputs):
            raise CheckFailed(
                f"two forwards with the same input differ (module.{mode}())",
                "nothing random outside training; in training draw from torch's global generator alone",
            )
    return ""


def stateless(subject: Subject) -> str:
    """A forward changes no state, except that batch norms update their statistics in training mode."""
    for mode in ("eval", "train"):
        module = subject.perturbed().train(mode == "train")
        free = (
            {id(buffer) for norm in batch_norms(module) for buffer in norm.buffers()}
            if mode == "train"
            else set()
        )
        before = _memory(module, free)
        module(image(), language())
        after = _memory(module, free)
        changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        if changed:
            raise CheckFailed(
                f"module.{mode}(): a forward changes {', '.join(changed)}",
                "return it, or recompute it: stored state makes results depend on earlier inputs",
            )
    return ""


def _memory(module: nn.Module, free: set[int]) -> Mapping[str, object]:
    """Return all state of a module in a form that can be compared."""
    memory: dict[str, object] = {}
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if id(tensor) not in free:
            memory[name] = tensor.detach().clone().numpy().tobytes()
    for name, layer in module.named_modules():
        for key, value in vars(layer).items():
            if key not in {"_parameters", "_buffers", "_modules"}:
                memory[f"{name}.{key}" if name else key] = _comparable(value)
    return memory


def _comparable(value: Any) -> object:
    if isinstance(value, Tensor):
        return (id(value), value._version)
    if isinstance(value, Mapping):
        return tuple((repr(key), _comparable(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_comparable(item) for item in value)
    return value if isinstance(value, (str, int, float, bool, frozenset, type(None))) else id(value)


def independent(subject: Subject) -> str:
    """A sample's output does not depend on the other samples, in training mode too (batch norms excepted)."""
    module, seen, heard = subject.perturbed(), image(), language()
    alone = module(seen[1:2], _row(heard, 1))
    remedy = "attend and normalise within a sample: check the order of batch and positions, and what means run over"
    require_same(alone, module(seen, heard)[1:2], "a sample alone and in a batch of 3 differ", remedy)
    module.train()
    for norm in batch_norms(module):
        norm.eval()
    others, other_words = image(seed=7), language(seed=7)
    others[1], other_words.words[1], other_words.sentence[1] = seen[1], heard.words[1], heard.sentence[1]
    outputs = []
    for inputs in ((seen, heard), (others, other_words)):
        torch.manual_seed(5)  # the same dropout for both
        outputs.append(module(*inputs)[1])
    require_same(outputs[0], outputs[1], "while training, a sample changes with its neighbours", remedy)
    return f"with {len(batch_norms(module))} batch norms held still" if batch_norms(module) else ""


def _row(heard: Language, row: int) -> Language:
    part = slice(row, row + 1)
    return Language(heard.words[part], heard.mask[part], heard.sentence[part])


def padding(subject: Subject) -> str:
    """The output depends neither on the values of padding words nor on their number."""
    module, seen, heard = subject.perturbed(), image(), language()
    expected = module(seen, heard)
    remedy = "leave padding out with language.mask in every attention, mean and maximum over words"
    garbage = torch.where(heard.mask[..., None], heard.words, 1e4)
    changed = Language(garbage, heard.mask, heard.sentence)
    require_same(module(seen, changed), expected, "other numbers in the padding change the output", remedy)
    longer = Language(
        nn.functional.pad(heard.words, (0, 0, 0, 3), value=7.0),
        nn.functional.pad(heard.mask, (0, 3)),
        heard.sentence,
    )
    require_same(module(seen, longer), expected, "three more padding words change the output", remedy)
    return ""
