"""The pretext task: a backbone learns to recognise the object and its attributes at every position of its map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_bench.data.miniclevr.pretext import ATTRIBUTE_NAMES, ATTRIBUTE_VALUES, IGNORED
from fusion_bench.errors import WeightsError
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.training.seeds import seeded_rng, stream

_OUTPUTS = (1, *(len(values) for values in ATTRIBUTE_VALUES))
_FOREGROUND = 0.5  # attributes are scored at positions where objects cover at least this share


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
    """Accuracy on held-out images.

    Attributes:
        foreground: accuracy over all positions of the question whether objects cover at least half of the position.
        attributes: accuracy of each attribute, by name, over the positions that objects cover by at least half.
        loss: mean training loss of the last tenth of the steps.
    """

    foreground: float
    attributes: dict[str, float]
    loss: float


@dataclass(frozen=True, eq=False)
class PretextSamples:
    """``N`` images and the targets at the ``h`` x ``w`` positions of the backbone's map.

    Attributes:
        images: ``[N, 3, H, W]`` float32, normalised for the backbone.
        share: ``[N, h, w]`` float32, the share of each position that objects cover.
        attributes: ``[N, h, w, 4]`` int64, the value of each attribute by number, `IGNORED` where there is no object.
    """

    images: Tensor
    share: Tensor
    attributes: Tensor

    def __len__(self) -> int:
        return len(self.images)


def train_pretext(
    backbone: nn.Module,
    channels: int,
    samples: PretextSamples,
    recipe: PretextRecipe,
    seed: int,
    notify: Notify = say_nothing,
) -> PretextScores:
    """Train a backbone in place and return its scores on the held-out images.

    A 1x1 convolution on the backbone's map predicts the targets; it is discarded afterwards. The loss is the
    cross-entropy of the foreground share plus the mean of the four attributes' cross-entropies, averaged over
    positions with weights proportional to the share that objects cover. The optimizer is AdamW with a warm-up and a
    cosine; images are mirrored at random. The result depends on the initial weights, data, recipe and seed alone.

    Args:
        backbone: maps ``[B, 3, H, W]`` to ``[B, channels, h, w]``.
        channels: channels of the backbone's map.
        samples: the images of the recipe, the held-out ones last.
        recipe: the training settings.
        seed: the seed of the 1x1 convolution, the order of the images and the mirroring.
        notify: is told how many steps are trained.

    Raises:
        WeightsError: the loss is not finite.
    """
    with seeded_rng("init/pretext", seed):
        head = nn.Conv2d(channels, sum(_OUTPUTS), kernel_size=1)
    network = nn.Sequential(backbone, nn.BatchNorm2d(channels), head).train()
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
        loss = _loss(network, _mirrored(samples, rows, mirrored))
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
    scores = _scores(network.eval(), samples, recipe, sum(last_losses) / len(last_losses))
    network.to(memory_format=torch.contiguous_format)
    return scores


def _learning_rate_factor(step: int, recipe: PretextRecipe) -> float:
    """Return the factor on the highest learning rate: linear warm-up, then half a cosine to zero."""
    warm_steps = recipe.warmup * recipe.steps
    if step < warm_steps:
        return (step + 1) / (warm_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_steps) / (recipe.steps - warm_steps)))


def _mirrored(samples: PretextSamples, rows: Tensor, mirrored: Tensor) -> PretextSamples:
    """Return the samples in ``rows``, those with True in ``mirrored`` flipped (no attribute depends on the side)."""
    images, share, attributes = samples.images[rows], samples.share[rows], samples.attributes[rows]
    return PretextSamples(
        torch.where(mirrored[:, None, None, None], images.flip(3), images),
        torch.where(mirrored[:, None, None], share.flip(2), share),
        torch.where(mirrored[:, None, None, None], attributes.flip(2), attributes),
    )


def _loss(network: nn.Module, samples: PretextSamples) -> Tensor:
    foreground, *logits = network(_channels_last(samples.images)).split(_OUTPUTS, dim=1)
    loss = F.binary_cross_entropy_with_logits(foreground[:, 0], samples.share)
    weight = samples.share / samples.share.sum().clamp(min=1)
    for number, values in enumerate(logits):
        losses = F.cross_entropy(
            values, samples.attributes[..., number], ignore_index=IGNORED, reduction="none"
        )
        loss = loss + (losses * weight).sum() / len(logits)
    return loss


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _scores(network: nn.Module, samples: PretextSamples, recipe: PretextRecipe, loss: float) -> PretextScores:
    start = len(samples) - recipe.held_out
    outputs = [
        network(_channels_last(samples.images[row : row + recipe.batch_size]))
        for row in range(start, len(samples), recipe.batch_size)
    ]
    foreground, *logits = torch.cat(outputs).split(_OUTPUTS, dim=1)
    covered = samples.share[start:] >= _FOREGROUND
    right = ((foreground[:, 0] >= 0) == covered).float().mean()
    attributes = {
        name: float((values.argmax(dim=1) == samples.attributes[start:, ..., number])[covered].float().mean())
        for number, (name, values) in enumerate(zip(ATTRIBUTE_NAMES, logits, strict=True))
    }
    return PretextScores(float(right), attributes, loss)
