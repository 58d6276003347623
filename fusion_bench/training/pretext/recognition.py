"""The pretext task: a backbone learns to recognise the object and its attributes at every position of its maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_bench.data.miniclevr.pretext import IGNORED
from fusion_bench.errors import WeightsError
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.training.pretext.network import OUTPUTS, MapTargets, PretextNetwork, PretextSamples
from fusion_bench.training.pretext.scores import PretextScores, score_pretext
from fusion_bench.training.seeds import stream


@dataclass(frozen=True)
class PretextRecipe:
    """The settings of pretext training; the file name of the weights is a hash of these values.

    Attributes:
        images: number of training images.
        held_out: number of further images that are used for scores only.
        steps: number of optimizer steps.
        batch_size: images per step.
        learning_rate: highest learning rate of the cosine schedule.
        weight_decay: weight decay of AdamW.
        warmup: share of the steps in which the learning rate rises from zero.
        maps: number of the backbone's last maps on which the task is trained.
        precision: the type of the convolutions' numbers in training. bfloat16 is nearly twice as fast on processors
            that compute with it, and far slower on others.
    """

    images: int = 4000
    held_out: int = 300
    steps: int = 600
    batch_size: int = 32
    learning_rate: float = 8e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    maps: int = 2
    precision: Literal["float32", "bfloat16"] = "float32"


def train_pretext(
    network: PretextNetwork,
    samples: PretextSamples,
    recipe: PretextRecipe,
    seed: int,
    notify: Notify = say_nothing,
) -> PretextScores:
    """Train a backbone and its heads in place and return their scores on the held-out images.

    The loss of a map is the cross-entropy of the foreground share plus the mean of the four attributes'
    cross-entropies; the losses of the maps are added. The cross-entropy of an attribute is a weighted mean over
    positions; the weight is the share of the object's visible pixels that the position shows, so that a small object
    counts as much as a large one. The optimizer is AdamW with a warm-up and a cosine; images are mirrored at random.
    The result depends on the initial weights, data, recipe and seed alone.

    Args:
        network: a backbone that returns the maps for which there are targets, and its heads.
        samples: the images of the recipe, the held-out ones last.
        recipe: the training settings.
        seed: the seed of the order of the images and of the mirroring.
        notify: is told how many steps are trained.

    Raises:
        WeightsError: the loss is not finite.
    """
    network.train()
    network.to(memory_format=torch.channels_last)  # one and a half times as fast on a CPU
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate_factor(step, recipe))
    random, order = stream("order/pretext", seed), torch.empty(0, dtype=torch.int64)
    losses: list[float] = []
    for step in range(1, recipe.steps + 1):
        if len(order) < recipe.batch_size:
            order = torch.cat([order, torch.randperm(len(samples) - recipe.held_out, generator=random)])
        rows, order = order[: recipe.batch_size], order[recipe.batch_size :]
        mirrored = torch.rand(len(rows), generator=random) < 0.5
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            outputs = network(_mirrored(samples.images[rows], mirrored))
        loss = _loss(outputs, [targets.rows(rows, mirrored) for targets in samples.targets])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        notify("pretext step", step, recipe.steps)
    last_losses = losses[-max(1, recipe.steps // 10) :]
    if not all(map(math.isfinite, last_losses)):
        raise WeightsError("the loss of the pretext task is not finite; choose another backbone")
    scores = score_pretext(network, samples, len(samples) - recipe.held_out)
    network.to(memory_format=torch.contiguous_format)
    return PretextScores(scores, sum(last_losses) / len(last_losses))


def _learning_rate_factor(step: int, recipe: PretextRecipe) -> float:
    """Return the factor on the highest learning rate: linear warm-up, then half a cosine to zero."""
    warm_steps = recipe.warmup * recipe.steps
    if step < warm_steps:
        return (step + 1) / (warm_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_steps) / (recipe.steps - warm_steps)))


def _mirrored(images: Tensor, mirrored: Tensor) -> Tensor:
    """Return images ``[B, H, W, 3]``, those with True in ``mirrored`` flipped; no attribute depends on the side."""
    return torch.where(mirrored[:, None, None, None], images.flip(2), images)


def _loss(outputs: Sequence[Tensor], targets: Sequence[MapTargets]) -> Tensor:
    losses = [_map_loss(logits.float(), found) for logits, found in zip(outputs, targets, strict=True)]
    return torch.stack(losses).sum()


def _map_loss(outputs: Tensor, targets: MapTargets) -> Tensor:
    foreground, *logits = outputs.split(OUTPUTS, dim=1)
    loss = F.binary_cross_entropy_with_logits(foreground[:, 0], targets.share)
    weight = targets.part / targets.part.sum().clamp(min=1)
    for number, values in enumerate(logits):
        losses = F.cross_entropy(
            values, targets.attributes[..., number], ignore_index=IGNORED, reduction="none"
        )
        loss = loss + (losses * weight).sum() / len(logits)
    return loss
