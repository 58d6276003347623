"""A toy problem that needs both inputs: the exclusive or of one bit of the image and one bit of the sentence.

Each position of a 2x3 map encodes one bit. Each sentence encodes another bit, in all of its words and in its vector.
All inputs have a little noise. One linear layer reads the output of the module at each position. The module itself
must combine the inputs, because an exclusive or is no linear function of them.

A module may pool: it computes one result for the image and puts it at every position. The contract has no declaration
for this. Therefore, if the bits of single positions are not learnt, every position of an image gets the same bit, and
one answer per image is read from the mean over positions. Success on either level counts, and the result names the
level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.checking.subject import (
    LANGUAGE_DIM,
    VISUAL_DIM,
    WORDS,
    CheckFailed,
    NotApplicable,
    Subject,
)
from fusion_bench.contract import FusionModule, Language

Level = Literal["position", "image"]
SEEDS = (0, 1, 2)
STEPS = 2000
TARGET = 0.99
_CONTROL_STEPS = 60
_CHANCE = 0.75
_BATCH, _HEIGHT, _WIDTH = 32, 2, 3
_EVERY = 20
_LEARNING_RATE = 1e-3
_NOISE = 0.1


def learns(subject: Subject, seeds: tuple[int, ...] = SEEDS, steps: int = STEPS) -> str:
    """The toy problem is learnt to 99 % within 2,000 steps from every seed; a control stays at chance."""
    if not subject.kind.trainable:
        raise NotApplicable("trainable is False: the trained layers around it may solve the toy problem")
    if subject.kind.reads != {"image", "language"}:
        return _stays_at_chance(subject, seeds)
    level: Level = "position"
    attempt = _attempt(subject, seeds[0], level, steps)
    if not attempt.learnt:
        level, first = "image", attempt
        attempt = _attempt(subject, seeds[0], level, steps)
        if not attempt.learnt:
            raise _not_learnt(
                f"{first.accuracy:.1%} per position and {attempt.accuracy:.1%} per image", seeds[0], steps
            )
    taken = [attempt.steps]
    for seed in seeds[1:]:
        attempt = _attempt(subject, seed, level, steps)
        if not attempt.learnt:
            raise _not_learnt(f"{attempt.accuracy:.1%} per {level}", seed, steps)
        taken.append(attempt.steps)
    return f"per {level}, in {', '.join(map(str, taken))} steps"


def _stays_at_chance(subject: Subject, seeds: tuple[int, ...]) -> str:
    for seed in seeds:
        attempt = _attempt(subject, seed, "position", _CONTROL_STEPS)
        if attempt.accuracy > _CHANCE:
            raise CheckFailed(
                f"it declares to read less than both inputs, yet solves {attempt.accuracy:.0%} of what needs both",
                "declare what it reads",
            )
    return "it stays at chance, as a control must"


def _not_learnt(reached: str, seed: int, steps: int) -> CheckFailed:
    return CheckFailed(
        f"the exclusive or of image and sentence bit is not learnt in {steps} steps (seed {seed}: {reached})",
        "combine both inputs before a nonlinearity, and let gradients reach the parameters that combine them",
    )


@dataclass(frozen=True)
class Attempt:
    """The result of a training: the accuracy on new samples and the number of steps."""

    accuracy: float
    steps: int

    @property
    def learnt(self) -> bool:
        """True if the accuracy reached the target."""
        return self.accuracy >= TARGET


def _attempt(subject: Subject, seed: int, level: Level, steps: int) -> Attempt:
    """Train until the target or the last step is reached, and return the best accuracy and its step."""
    torch.manual_seed(seed)
    module = subject.fresh(seed=seed).train()
    head = nn.Conv2d(module.out_dim, 1, 1)
    optimiser = torch.optim.Adam([*module.parameters(), *head.parameters()], lr=_LEARNING_RATE)
    samples = _samples(seed, level)
    best = Attempt(0.0, 0)
    for step in range(1, steps + 1):
        seen, heard, bits = next(samples)
        loss = F.binary_cross_entropy_with_logits(_read(module, head, seen, heard, level), bits)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % _EVERY == 0:
            accuracy = _accuracy(module, head, samples, level)
            best = max(best, Attempt(accuracy, step), key=lambda attempt: attempt.accuracy)
            if best.learnt:
                break
    return best


def _read(module: FusionModule, head: nn.Module, seen: Tensor, heard: Language, level: Level) -> Tensor:
    """Return logits ``[B, 1, H, W]``, or ``[B, 1, 1, 1]`` for one answer per image."""
    fused = module(seen, heard)
    logits: Tensor = head(fused.mean(dim=(2, 3), keepdim=True) if level == "image" else fused)
    return logits


def _accuracy(
    module: FusionModule, head: nn.Module, samples: Iterator[tuple[Tensor, Language, Tensor]], level: Level
) -> float:
    module.eval()
    right = []
    with torch.no_grad():
        for _ in range(8 if level == "image" else 2):
            seen, heard, bits = next(samples)
            right.append(((_read(module, head, seen, heard, level) > 0) == (bits > 0.5)).float().mean())
    module.train()
    return float(torch.stack(right).mean())


def _samples(seed: int, level: Level) -> Iterator[tuple[Tensor, Language, Tensor]]:
    """Yield batches without end: map, language, and the exclusive or at each position (or of the image)."""
    generator = torch.Generator().manual_seed(5000 + seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def signs(*shape: int) -> Tensor:
        return 2.0 * torch.randint(2, shape, generator=generator) - 1

    visual_code, word_code, sentence_code = drawn(VISUAL_DIM), drawn(LANGUAGE_DIM), drawn(LANGUAGE_DIM)
    while True:
        seen = signs(_BATCH, 1, 1, 1) if level == "image" else signs(_BATCH, 1, _HEIGHT, _WIDTH)
        heard = signs(_BATCH, 1)
        noise = _NOISE * drawn(_BATCH, VISUAL_DIM, _HEIGHT, _WIDTH)
        lengths = torch.randint(1, WORDS + 1, (_BATCH, 1), generator=generator)
        language = Language(
            heard[..., None] * word_code + _NOISE * drawn(_BATCH, WORDS, LANGUAGE_DIM),
            torch.arange(WORDS) < lengths,
            heard * sentence_code + _NOISE * drawn(_BATCH, LANGUAGE_DIM),
        )
        unequal = (seen * heard[:, :, None, None] < 0).float()
        yield seen * visual_code[:, None, None] + noise, language, unequal
