"""The pretext task: a backbone learns, cell by cell, what stands there and what it looks like."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_bench.data.miniclevr.pretext import ATTRIBUTE_NAMES, ATTRIBUTE_VALUES, IGNORED
from fusion_bench.errors import WeightsError
from fusion_bench.training.seeds import seeded_rng, stream

_OUTPUTS = (1, *(len(values) for values in ATTRIBUTE_VALUES))
_COVERED = 0.5  # share of a cell that shows a thing, from which on its attributes are scored


@dataclass(frozen=True)
class PretextRecipe:
    """How the pretext is trained; its weights are named by these values.

    Attributes:
        images: pictures to learn from; ``held_out`` more are kept for scoring.
        held_out: pictures that are only scored.
        steps: optimiser steps; the same number whatever the machine's speed.
        batch_size: pictures a step.
        learning_rate: highest value of the cosine schedule.
        weight_decay: AdamW's.
        warmup: share of the steps in which the learning rate rises from zero.
    """

    images: int = 4000
    held_out: int = 300
    steps: int = 600
    batch_size: int = 32
    learning_rate: float = 8e-3
    weight_decay: float = 0.01
    warmup: float = 0.1


@dataclass(frozen=True)
class PretextScores:
    """Accuracy on held-out pictures.

    Attributes:
        foreground: share of all cells told rightly to be covered by things by half or not.
        attributes: by name, share of the cells covered by half or more that are named rightly.
        loss: mean loss of the last tenth of the steps.
    """

    foreground: float
    attributes: dict[str, float]
    loss: float


@dataclass(frozen=True, eq=False)
class PretextCells:
    """Pictures with what their cells show.

    Attributes:
        images: ``[N, 3, H, W]`` float32, normalised as the backbone wants it.
        share: ``[N, h, w]`` float32, part of each cell that shows a thing.
        attributes: ``[N, h, w, 4]`` int64, `IGNORED` where a cell shows none.
    """

    images: Tensor
    share: Tensor
    attributes: Tensor

    def __len__(self) -> int:
        return len(self.images)


def train_pretext(
    backbone: nn.Module, channels: int, cells: PretextCells, recipe: PretextRecipe, seed: int
) -> PretextScores:
    """Train a backbone in place, under 1x1 heads that are thrown away.

    The loss is the cross-entropy of the foreground share plus, over the cells that show a thing and weighted
    by their share, the mean of the four attributes' cross-entropies. AdamW, warm-up and cosine; pictures are
    mirrored at random. The result depends on weights, data, recipe and seed only.

    Args:
        backbone: ``[B, 3, H, W]`` -> ``[B, channels, h, w]``.
        channels: of its map.
        cells: the recipe's pictures, the held-out ones last.
        recipe: how to train.
        seed: of heads, order and mirroring.

    Returns:
        Scores on the held-out pictures.

    Raises:
        WeightsError: the loss is not finite.
    """
    with seeded_rng("init/pretext", seed):
        head = nn.Conv2d(channels, sum(_OUTPUTS), kernel_size=1)
    network = nn.Sequential(backbone, nn.BatchNorm2d(channels), head).train()
    network.to(memory_format=torch.channels_last)  # half as fast again on a CPU
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, recipe))
    random, order = stream("order/pretext", seed), torch.empty(0, dtype=torch.int64)
    losses: list[float] = []
    for _ in range(recipe.steps):
        if len(order) < recipe.batch_size:
            order = torch.cat([order, torch.randperm(len(cells) - recipe.held_out, generator=random)])
        rows, order = order[: recipe.batch_size], order[recipe.batch_size :]
        mirrored = torch.rand(len(rows), generator=random) < 0.5
        loss = _loss(network, _mirrored(cells, rows, mirrored))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    late = losses[-max(1, recipe.steps // 10) :]
    if not all(map(math.isfinite, late)):
        raise WeightsError("the pretext task's loss is not finite; choose another backbone")
    scores = _scores(network.eval(), cells, recipe, sum(late) / len(late))
    network.to(memory_format=torch.contiguous_format)
    return scores


def _pace(step: int, recipe: PretextRecipe) -> float:
    """Share of the highest learning rate: linear warm-up, then half a cosine to zero."""
    warm = recipe.warmup * recipe.steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (recipe.steps - warm)))


def _mirrored(cells: PretextCells, rows: Tensor, mirrored: Tensor) -> PretextCells:
    """Pictures by row, some of them with left and right exchanged (no attribute knows the difference)."""
    images, share, attributes = cells.images[rows], cells.share[rows], cells.attributes[rows]
    return PretextCells(
        torch.where(mirrored[:, None, None, None], images.flip(3), images),
        torch.where(mirrored[:, None, None], share.flip(2), share),
        torch.where(mirrored[:, None, None, None], attributes.flip(2), attributes),
    )


def _loss(network: nn.Module, cells: PretextCells) -> Tensor:
    foreground, *logits = network(_channels_last(cells.images)).split(_OUTPUTS, dim=1)
    loss = F.binary_cross_entropy_with_logits(foreground[:, 0], cells.share)
    weight = cells.share / cells.share.sum().clamp(min=1)
    for number, values in enumerate(logits):
        named = F.cross_entropy(values, cells.attributes[..., number], ignore_index=IGNORED, reduction="none")
        loss = loss + (named * weight).sum() / len(logits)
    return loss


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _scores(network: nn.Module, cells: PretextCells, recipe: PretextRecipe, loss: float) -> PretextScores:
    start = len(cells) - recipe.held_out
    outputs = [
        network(_channels_last(cells.images[row : row + recipe.batch_size]))
        for row in range(start, len(cells), recipe.batch_size)
    ]
    foreground, *logits = torch.cat(outputs).split(_OUTPUTS, dim=1)
    covered = cells.share[start:] >= _COVERED
    right = ((foreground[:, 0] >= 0) == covered).float().mean()
    attributes = {
        name: float((values.argmax(dim=1) == cells.attributes[start:, ..., number])[covered].float().mean())
        for number, (name, values) in enumerate(zip(ATTRIBUTE_NAMES, logits, strict=True))
    }
    return PretextScores(float(right), attributes, loss)
