"""A toy problem that neither input solves alone: the exclusive or of a bit that is seen and a bit that is heard.

Each position of a 2x3 map carries one bit, each sentence another, in all of its words and in its vector; a
little noise lies on everything. One linear layer reads the module's output at each position. What reaches it must
already be fused: no linear layer, and no sum of two, makes an exclusive or.

A module may pool: it answers for the whole image and lays the answer down everywhere. Nothing in the contract
declares that, and nothing has to: if the bits of single positions are not learnt, every position of an image is
given the same bit, and one answer per image is read from the mean over positions. Success on either level counts, and
the line says which.
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
    """The toy is learnt to 99 % within 2,000 steps from every seed; a control stays at chance."""
    if not subject.kind.trainable:
        raise NotApplicable("trainable is False: what is around it is trained and may solve the toy")
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
    return "as a control must, it stays at chance"


def _not_learnt(reached: str, seed: int, steps: int) -> CheckFailed:
    return CheckFailed(
        f"the exclusive or of a seen and a heard bit is not learnt in {steps} steps (seed {seed}: {reached})",
        "both inputs must meet before a nonlinearity, and gradients must reach the parameters that join them",
    )


@dataclass(frozen=True)
class Attempt:
    """How far a training came: accuracy on fresh samples, after so many steps."""

    accuracy: float
    steps: int

    @property
    def learnt(self) -> bool:
        """Whether it reached the target."""
        return self.accuracy >= TARGET


def _attempt(subject: Subject, seed: int, level: Level, steps: int) -> Attempt:
    """Train until the target is reached or the steps are spent; the best accuracy seen, and when."""
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
    """Logits ``[B, 1, H, W]``, or ``[B, 1, 1, 1]`` where one answer per image is asked for."""
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
    """Batches without end: map, language, the exclusive or at each position (or of the image)."""
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
