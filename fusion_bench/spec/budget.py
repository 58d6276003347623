"""Matches the cost of every arm to the cost of the reference, by the width of its modules.

A module declares the constructor argument that scales its cost (`fusion_bench.contract.Width`). With
``budget.match``, this argument is chosen for every arm that does not write it. The arm's fusion cost (modules, mixers
and adapters: `fusion_bench.training.model.Costs.fusion`) is then as near to the cost of the reference as the steps of
the width allow. Arms outside the tolerance are shown and not ranked. Controls are not matched.

Costs are counted on the meta device, where a layer of any width takes no memory.
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
from fusion_bench.spec.arms import Arm, BudgetMatch, with_settings
from fusion_bench.training.config import CellConfig
from fusion_bench.training.slot import make_slot
from fusion_bench.training.text_encoder import EMPTY_VOCABULARY, build_text_encoder

Match = Literal["params", "flops"]
T = TypeVar("T")

UNITS: Mapping[Match, str] = {"params": "parameters", "flops": "multiply-adds"}
DEFAULT_WORDS = 16
"""The number of words for which multiply-adds are counted in a study that does not cut its texts."""

_MAX_WIDTH = 2**20
_MAX_GAP = 64
"""After this number of refused steps in a row, a module is taken to accept no larger width."""


def solve_width(cost: Callable[[int], int | None], target: int, widths: Width) -> int | None:
    """Return the width whose cost is nearest to ``target``, the smaller of two equals; None if none is accepted.

    The cost is bracketed by doubling the width, then bisected.

    Args:
        cost: the cost of a width, which rises with the width; None where the module refuses the width.
        target: the cost to come near to.
        widths: the possible widths: multiples of its ``step``, from its ``minimum`` on.
    """
    costs: dict[int, int] = {}  # the cost of each accepted width; widths are counted in steps
    first, last = -(-widths.minimum // widths.step), _MAX_WIDTH // widths.step

    def accepted(start: int, end: int) -> int | None:
        """Return the first accepted width in ``[start, end)``; None if there is none."""
        for steps in range(max(start, first), min(end, start + _MAX_GAP, last + 1)):
            if steps in costs:
                return steps
            if (found := cost(steps * widths.step)) is not None:
                costs[steps] = found
                return steps
        return None

    def nearest() -> int:
        return min(costs, key=lambda steps: (abs(costs[steps] - target), steps))

    low = accepted(first, last)
    if low is None:
        return None
    high = low
    while costs[low] < target and high == low:  # double until the cost reaches the target or no width is left
        wider = accepted(2 * low, last + 1)
        if wider is not None and costs[wider] < target:
            low = high = wider
        else:
            high = 2 * low
    while high - low > 1:
        middle = (low + high) // 2
        found = accepted(middle, high)
        if found is not None and costs[found] < target:
            low = found
        else:
            high = middle
    best = nearest()
    accepted(best - 1, best)  # a neighbour may be nearer where the cost does not rise with every step
    accepted(best + 1, best + 2)
    return nearest() * widths.step


def fusion_cost(
    config: CellConfig,
    match: Match,
    words: int = DEFAULT_WORDS,
    files: Mapping[str, Path] = MappingProxyType({}),
) -> int:
    """Return the cost of an arm's modules, mixers and adapters.

    Args:
        config: the settings of the arm's cells.
        match: ``params`` counts parameters, ``flops`` counts multiply-adds of one sample.
        words: number of words of that sample's sentence.
        files: the files that the text encoder reads, by SHA-256.

    Raises:
        Exception: any error of the module's constructor or forward pass.
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
    """The budget that the arms of a study are matched to.

    Attributes:
        match: the cost that is matched: parameters or multiply-adds.
        tolerance: the largest relative distance from the budget at which an arm is still ranked.
        reference: label of the arm whose cost is the budget.
        target: the budget: the cost of the reference.
        widths: the widths that may be chosen, by arm label. The width of the reference changes only in a search,
            where its other settings change its cost.
        words: number of words of the sentence for which multiply-adds are counted.
        files: the files that text encoders read, by SHA-256.
    """

    match: Match
    tolerance: float
    reference: str
    target: int
    widths: Mapping[str, Width]
    words: int
    files: Mapping[str, Path]

    def matched(self, arm: Arm) -> Arm:
        """Return the arm with the width whose cost is nearest to the budget, and its distance from the budget.

        An arm keeps its default width if no multiple of the step is nearer, and the reference keeps its width as
        written. An arm that was matched before and whose cost has not changed (a search changed its learning rate,
        for example) keeps its width too.
        """
        widths = self.widths.get(arm.label)
        cost = self._cost(arm.config)
        if arm.budget_match is not None and arm.budget_match == self._budget_match(arm, cost):
            return arm
        if widths is not None and (arm.label, cost) != (self.reference, self.target):
            width = solve_width(lambda width: self._cost_at(arm.config, widths, width), self.target, widths)
            best = None if width is None else self._cost_at(arm.config, widths, width)
            if best is not None and (cost is None or abs(best - self.target) <= abs(cost - self.target)):
                arm, cost = arm.having({widths.argument: width}), best
        return replace(arm, budget_match=self._budget_match(arm, cost))

    def sentence(self) -> str:
        """Return the sentence of a report that says what was matched, to which value and how closely."""
        size = f" (a sentence of {self.words} words)" if self.match == "flops" else ""
        return (
            f"{UNITS[self.match].capitalize()}{size} of the fusion modules and adapters, matched by each "
            f"module's width to the {self.target:,} of {self.reference}, within "
            f"{100 * self.tolerance:.3g} %. Controls are not matched."
        )

    def _cost_at(self, config: CellConfig, widths: Width, width: int) -> int | None:
        """Return the cost at a width; None where the module refuses the width or its type."""
        try:
            return self._cost(with_settings(config, {widths.argument: width}))
        except StudyFileError:
            return None

    def _cost(self, config: CellConfig) -> int | None:
        try:
            return fusion_cost(config, self.match, self.words, self.files)
        except (Exception, SystemExit):  # the code of a module may refuse settings by any exception
            return None

    def _budget_match(self, arm: Arm, cost: int | None) -> BudgetMatch:
        if cost is None:
            return BudgetMatch(None, "" if arm.role == "control" else "its cost cannot be counted")
        distance = cost / self.target - 1
        if arm.role == "control" or abs(distance) <= self.tolerance:
            return BudgetMatch(distance)
        return BudgetMatch(distance, self._reason_unranked(arm))

    def _reason_unranked(self, arm: Arm) -> str:
        if arm.label in self.widths:
            return f"no value of {self.widths[arm.label].argument} is nearer to the budget"
        if arm.config.kind == "network":
            return "a network has no width to match"
        width: Width | None = arm.config.arm.target.load().width
        return "it has no width to match" if width is None else f"the study fixes its {width.argument}"


def _language_dim(config: CellConfig, files: Mapping[str, Path]) -> int:
    return int(_on_meta(lambda: build_text_encoder(config, EMPTY_VOCABULARY, files)).language_dim)


def _map_shape(config: CellConfig) -> tuple[int, int, int]:
    """Return channels, height and width of the map that an arm's slot reads."""
    if config.kind == "network" or config.backbone is None:
        return (3, *config.data.image_size)
    return _backbone_map(config.backbone.name, config.backbone.layer, config.data.image_size)


@lru_cache(maxsize=64)
def _backbone_map(name: str, layer: int, image_size: tuple[int, int]) -> tuple[int, int, int]:
    backbone: Backbone = _on_meta(lambda: build_backbone(name, layer=layer, image_size=image_size))
    return (backbone.channels, *backbone.map_size)


def _on_meta(build: Callable[[], T]) -> T:
    """Return an object built on the meta device, or in memory if its constructor reads values of its tensors."""
    with fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build()
        except ValueError:
            raise
        except Exception:
            return build()
