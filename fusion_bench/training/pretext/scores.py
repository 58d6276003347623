"""How often a pretext network names the foreground and the attributes right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_bench.data.miniclevr.pretext import ATTRIBUTE_NAMES
from fusion_bench.training.pretext.network import OUTPUTS, MapTargets, PretextNetwork, PretextSamples

_FOREGROUND = 0.5  # attributes are scored at positions where objects cover at least this share
_SCORED_AT_ONCE = 32


@dataclass(frozen=True)
class MapScores:
    """Accuracy on held-out images at the positions of one map.

    Attributes:
        foreground: accuracy over all positions of the question whether objects cover at least half of the position.
        positions: accuracy of each attribute, by name, over the positions that objects cover by at least half.
        objects: accuracy of each attribute, by name, over objects, each at the position that shows most of it;
            objects that cover no position more than others do are left out.
    """

    foreground: float
    positions: dict[str, float]
    objects: dict[str, float]


@dataclass(frozen=True)
class PretextScores:
    """The result of pretext training.

    Attributes:
        maps: the scores of each map that was trained on, from the finest.
        loss: mean training loss of the last tenth of the steps.
    """

    maps: tuple[MapScores, ...]
    loss: float


@torch.no_grad()
def score_pretext(network: PretextNetwork, samples: PretextSamples, first: int = 0) -> tuple[MapScores, ...]:
    """Return the scores of each map on the images from number ``first`` on."""
    network.eval()
    rows = torch.arange(first, len(samples))
    batches = [network(samples.images[part]) for part in rows.split(_SCORED_AT_ONCE)]
    unflipped = torch.zeros(len(rows), dtype=torch.bool)
    return tuple(
        _map_scores(torch.cat(outputs), targets.rows(rows, unflipped))
        for outputs, targets in zip(zip(*batches, strict=True), samples.targets, strict=True)
    )


def _map_scores(outputs: Tensor, targets: MapTargets) -> MapScores:
    foreground, *logits = outputs.split(OUTPUTS, dim=1)
    covered = targets.share >= _FOREGROUND
    right = torch.stack([values.argmax(dim=1) for values in logits], dim=-1) == targets.attributes
    return MapScores(
        foreground=float(((foreground[:, 0] >= 0) == covered).float().mean()),
        positions=_by_name(right[covered]),
        objects=_by_name(right[targets.peak]),
    )


def _by_name(right: Tensor) -> dict[str, float]:
    """Return the mean of each attribute by name, from ``[M, 4]`` bool."""
    return dict(zip(ATTRIBUTE_NAMES, right.float().mean(dim=0).tolist(), strict=True))
