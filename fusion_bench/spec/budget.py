"""Equal cost: the width at which an arm costs what the reference does.

A module declares the constructor argument that scales its cost (`fusion_bench.contract.Width`). A study with
``budget.match`` chooses it for every arm that leaves it open, so that the arm's fusion cost (modules, mixers
and adapters: `fusion_bench.training.model.Costs.fusion`) comes as near to the reference's as its steps
allow. Arms that stay outside the tolerance are shown and not ranked. Controls are not matched.

Everything is counted on the meta device, where a layer of any width takes no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeVar

import torch
from torch.random import fork_rng

from fusion_bench.contract import Language, Width, multiply_adds_of
from fusion_bench.encoders.vision import Backbone, build_backbone
from fusion_bench.errors import StudyFileError
from fusion_bench.spec.arms import Arm, Fit, with_settings
from fusion_bench.training.config import CellConfig
from fusion_bench.training.slot import make_slot
from fusion_bench.training.text_encoder import NOTHING_READ, text_encoder

Match = Literal["params", "flops"]
T = TypeVar("T")

UNITS: Mapping[Match, str] = {"params": "parameters", "flops": "multiply-adds"}
DEFAULT_WORDS = 16
"""Words of the sentence that multiply-adds are counted on, in a study that does not cut its texts."""

_WIDEST = 2**20
_PATIENCE = 64
"""So many refused steps in a row are the end of a module's widths, fewer are a gap."""


def solve(cost: Callable[[int], int | None], target: int, knob: Width) -> int | None:
    """The width whose cost is nearest to ``target``, the smaller of equals; None if none is accepted.

    Args:
        cost: what a width costs, rising with it; None where the module refuses the width.
        target: what it should cost.
        knob: the widths: multiples of its ``step`` from its ``minimum`` on.
    """
    seen: dict[int, int] = {}  # the cost of every accepted width, in steps
    first, last = -(-knob.minimum // knob.step), _WIDEST // knob.step

    def accepted(start: int, end: int) -> int | None:
        """The first accepted width of ``[start, end)``."""
        for steps in range(max(start, first), min(end, start + _PATIENCE, last + 1)):
            if steps in seen:
                return steps
            if (found := cost(steps * knob.step)) is not None:
                seen[steps] = found
                return steps
        return None

    def nearest() -> int:
        return min(seen, key=lambda steps: (abs(seen[steps] - target), steps))

    low = accepted(first, last)
    if low is None:
        return None
    high = low
    while seen[low] < target and high == low:  # double until it costs enough, or no width is left
        wider = accepted(2 * low, last + 1)
        if wider is not None and seen[wider] < target:
            low = high = wider
        else:
            high = 2 * low
    while high - low > 1:
        middle = (low + high) // 2
        found = accepted(middle, high)
        if found is not None and seen[found] < target:
            low = found
        else:
            high = middle
    best = nearest()
    accepted(best - 1, best)  # where a cost does not rise evenly, a neighbour may be nearer
    accepted(best + 1, best + 2)
    return nearest() * knob.step


def fusion_cost(
    config: CellConfig,
    match: Match,
    words: int = DEFAULT_WORDS,
    files: Mapping[str, Path] = MappingProxyType({}),
) -> int:
    """What an arm with these settings pays for its modules, mixers and adapters, for one sample of ``words``.

    ``files`` are those that its text encoder reads, by SHA-256.

    Raises:
        Exception: whatever the module's constructor or forward pass raises.
    """
    dim = _language_dim(config, files)
    channels, height, width = _map_shape(config)
    slot = _on_meta(lambda: make_slot(config, map_channels=channels, language_dim=dim))
    if match == "params":
        return sum(parameter.numel() for parameter in slot.parameters())
    mask = torch.ones(1, words, dtype=torch.bool, device="meta")
    vectors = torch.empty(1, words, dim, device="meta")
    visual = torch.empty(1, channels, height, width, device="meta")
    return multiply_adds_of(slot, visual, Language(vectors, mask, vectors[:, 0]))


@dataclass(frozen=True, eq=False)
class Budget:
    """A budget that the arms of a study are matched to.

    Attributes:
        match: what is counted.
        tolerance: the largest relative distance with which an arm is still ranked.
        reference: label of the arm whose cost it is; ``target``: that cost.
        knobs: the widths that may be chosen, by arm label; the reference's moves only in a search, where its
            other settings change what it costs.
        words: length of the sentence that multiply-adds are counted on.
        files: what text encoders read, by SHA-256.
    """

    match: Match
    tolerance: float
    reference: str
    target: int
    knobs: Mapping[str, Width]
    words: int
    files: Mapping[str, Path]

    def matched(self, arm: Arm) -> Arm:
        """The arm at the width that comes nearest, and how near that is.

        A default that no multiple of the step comes as near as is kept, and so is the reference as written. An
        arm that was matched before and costs what it did (a search drew its learning rate) keeps its width.
        """
        knob = self.knobs.get(arm.label)
        cost = self._cost(arm.config)
        if arm.fit is not None and arm.fit == self._fit(arm, cost):
            return arm
        if knob is not None and (arm.label, cost) != (self.reference, self.target):
            width = solve(lambda width: self._cost_at(arm.config, knob, width), self.target, knob)
            best = None if width is None else self._cost_at(arm.config, knob, width)
            if best is not None and (cost is None or abs(best - self.target) <= abs(cost - self.target)):
                setting = {knob.argument: width}
                config, factors = with_settings(arm.config, setting), {**arm.factors, **setting}
                arm, cost = replace(arm, config=config, factors=factors), best
        return replace(arm, fit=self._fit(arm, cost))

    def sentence(self) -> str:
        """What was matched, for the head of a report."""
        size = f" (a sentence of {self.words} words)" if self.match == "flops" else ""
        return (
            f"{UNITS[self.match].capitalize()}{size} of the fusion modules and adapters, matched by each "
            f"module's width to the {self.target:,} of {self.reference}, within "
            f"{100 * self.tolerance:.3g} %. Controls are not matched."
        )

    def _cost_at(self, config: CellConfig, knob: Width, width: int) -> int | None:
        """None where the module refuses the width, or its type."""
        try:
            return self._cost(with_settings(config, {knob.argument: width}))
        except StudyFileError:
            return None

    def _cost(self, config: CellConfig) -> int | None:
        try:
            return fusion_cost(config, self.match, self.words, self.files)
        except Exception:  # a refusal, in whatever way the module's own code refuses
            return None

    def _fit(self, arm: Arm, cost: int | None) -> Fit:
        if cost is None:
            return Fit(None, "" if arm.role == "control" else "its cost cannot be counted")
        distance = cost / self.target - 1
        if arm.role == "control" or abs(distance) <= self.tolerance:
            return Fit(distance)
        return Fit(distance, self._why_not(arm))

    def _why_not(self, arm: Arm) -> str:
        if arm.label in self.knobs:
            return f"no {self.knobs[arm.label].argument} comes nearer"
        if arm.config.kind == "network":
            return "a network has no width to match"
        knob: Width | None = arm.config.arm.target.load().width
        return "it has no width to match" if knob is None else f"the study fixes its {knob.argument}"


def _language_dim(config: CellConfig, files: Mapping[str, Path]) -> int:
    return int(_on_meta(lambda: text_encoder(config, NOTHING_READ, files)).language_dim)


def _map_shape(config: CellConfig) -> tuple[int, int, int]:
    """Channels, height and width of what an arm's slot reads."""
    if config.kind == "network" or config.backbone is None:
        return (3, *config.data.image_size)
    return _backbone_map(config.backbone.name, config.backbone.layer, config.data.image_size)


@lru_cache(maxsize=64)
def _backbone_map(name: str, layer: int, image_size: tuple[int, int]) -> tuple[int, int, int]:
    backbone: Backbone = _on_meta(lambda: build_backbone(name, layer=layer, image_size=image_size))
    return (backbone.channels, *backbone.map_size)


def _on_meta(build: Callable[[], T]) -> T:
    """Construct on the meta device, or, where a constructor reads its own numbers, in memory."""
    with fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build()
        except ValueError:
            raise
        except Exception:
            return build()
