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
from typing import Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.random import fork_rng

from fusion_bench.contract import FusionModule, Language, Width, multiply_adds_of
from fusion_bench.efficiency.width import solve_width
from fusion_bench.errors import StudyFileError
from fusion_bench.spec.arms import Arm, BudgetMatch, with_settings
from fusion_bench.storage import canonical
from fusion_bench.training.config import CellConfig, Component, FusionConfig
from fusion_bench.training.seeds import seeded_rng
from fusion_bench.training.slot import make_slot, slot_around
from fusion_bench.training.text_encoder import EMPTY_VOCABULARY, build_text_encoder

Match = Literal["params", "flops"]
T = TypeVar("T")

UNITS: Mapping[Match, str] = {"params": "parameters", "flops": "multiply-adds"}
DEFAULT_WORDS = 16
"""The number of words for which multiply-adds are counted in a study that does not cut its texts."""


class FusionCosts:
    """Counts the costs of arms, and each part that several arms have in common once.

    The cost of an arm is the sum over its modules and the layers around them. The contexts of a study have most
    modules in common: another slot or another head leaves them as they are.
    """

    def __init__(self) -> None:
        self._language_dims: dict[str, int] = {}
        self._modules: dict[tuple[_Count, int, str], tuple[int, int]] = {}
        self._around: dict[tuple[_Count, int, tuple[int, ...], FusionConfig, int], int] = {}

    def cost(self, config: CellConfig, match: Match, words: int, files: Mapping[str, Path]) -> int:
        """Return the cost of an arm's modules, mixers and adapters.

        Args:
            config: the settings of the arm's cells.
            match: ``params`` counts parameters, ``flops`` counts multiply-adds of one sample.
            words: number of words of that sample's sentence.
            files: the files that the text encoder reads, by SHA-256.

        Raises:
            Exception: any error of the module's constructor or forward pass.
        """
        dim = self._language_dim(config, files)
        channels, *size = _map_shape(config)
        count = _Count(match, dim) if match == "params" else _Count(match, dim, words, *size)
        if config.kind == "network":
            return count.of(
                _on_meta(lambda: make_slot(config, map_channels=channels, language_dim=dim)), channels
            )
        total = 0
        out_dims: tuple[int, ...] = ()
        for _ in range(config.fusion.depth):
            stacked = bool(out_dims) and config.fusion.slot == "published"
            out_dim, cost = self._module(config, out_dims[-1] if stacked else config.fusion.width, count)
            total, out_dims = total + cost, (*out_dims, out_dim)
        return total + self._layers_around(config, channels, out_dims, count)

    def _language_dim(self, config: CellConfig, files: Mapping[str, Path]) -> int:
        key = _text_of(config.text)
        if key not in self._language_dims:
            encoder = _on_meta(lambda: build_text_encoder(config, EMPTY_VOCABULARY, files))
            self._language_dims[key] = int(encoder.language_dim)
        return self._language_dims[key]

    def _module(self, config: CellConfig, visual_dim: int, count: _Count) -> tuple[int, int]:
        """Return the channels and the cost of one module that reads a map of ``visual_dim`` channels."""

        def build() -> FusionModule:
            with seeded_rng("init/module", config.seed):
                module: FusionModule = config.arm.target.load()(
                    visual_dim, count.language_dim, **config.arm.settings
                )
                return module

        key = (count, visual_dim, _text_of(config.arm))
        if key not in self._modules:
            module = _on_meta(build)
            self._modules[key] = (module.out_dim, count.of(module, visual_dim))
        return self._modules[key]

    def _layers_around(
        self, config: CellConfig, channels: int, out_dims: tuple[int, ...], count: _Count
    ) -> int:
        """Return the cost of a slot without its modules, whose outputs have ``out_dims`` channels."""
        key = (count, channels, out_dims, config.fusion, config.head.width)
        if key not in self._around:
            modules = cast("list[FusionModule]", [_StandIn(out_dim) for out_dim in out_dims])
            slot = _on_meta(lambda: slot_around(modules, config, map_channels=channels))
            self._around[key] = count.of(slot, channels)
        return self._around[key]


@dataclass(frozen=True)
class _Count:
    """Counts parameters, or the multiply-adds of one sample.

    Attributes:
        match: what is counted.
        language_dim: channels of the encoded words.
        words: number of words of the sample's sentence.
        height: height of the map; of the image, for a network.
        width: its width.
    """

    match: Match
    language_dim: int
    words: int = 0
    height: int = 0
    width: int = 0

    def of(self, layers: nn.Module, channels: int) -> int:
        """Return the cost of layers that read a map of so many channels, and language."""
        if self.match == "params":
            return sum(parameter.numel() for parameter in layers.parameters())
        mask = torch.ones(1, self.words, dtype=torch.bool, device="meta")
        vectors = torch.empty(1, self.words, self.language_dim, device="meta")
        visual = torch.empty(1, channels, self.height, self.width, device="meta")
        return multiply_adds_of(layers, visual, Language(vectors, mask, vectors[:, 0]))


class _StandIn(nn.Module):
    """Stands for a module in a slot of which only the other layers are counted; it costs nothing."""

    sentence_at_head = False

    def __init__(self, out_dim: int) -> None:
        super().__init__()
        self.out_dim = out_dim

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        return visual.new_empty(len(visual), self.out_dim, *visual.shape[2:])


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
        costs: counts the costs.
    """

    match: Match
    tolerance: float
    reference: str
    target: int
    widths: Mapping[str, Width]
    words: int
    files: Mapping[str, Path]
    costs: FusionCosts

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
            width = solve_width(
                lambda width: self._cost_at(arm.config, widths, width),
                self.target,
                widths,
                breaks=[arm.config.fusion.width],  # where no layer needs to restore the slot's width
            )
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
            return self.costs.cost(config, self.match, self.words, self.files)
        except (Exception, SystemExit):  # the code of a module may refuse settings by any exception
            return None

    def _budget_match(self, arm: Arm, cost: int | None) -> BudgetMatch:
        setting = self.widths[arm.label].argument if arm.label in self.widths else ""
        if cost is None:
            return BudgetMatch(None, "" if arm.role == "control" else "its cost cannot be counted", setting)
        distance = cost / self.target - 1
        if arm.role == "control" or abs(distance) <= self.tolerance:
            return BudgetMatch(distance, "", setting)
        return BudgetMatch(distance, self._reason_unranked(arm), setting)

    def _reason_unranked(self, arm: Arm) -> str:
        if arm.label in self.widths:
            return f"no value of {self.widths[arm.label].argument} is nearer to the budget"
        if arm.config.kind == "network":
            return "a network has no width to match"
        width: Width | None = arm.config.arm.target.load().width
        return "it has no width to match" if width is None else f"the study fixes its {width.argument}"


def _text_of(component: Component) -> str:
    """Return a text that is equal for equal classes with equal settings."""
    return canonical([component.target.identity, component.settings])


def _map_shape(config: CellConfig) -> tuple[int, int, int]:
    """Return channels, height and width of the map that an arm's slot reads."""
    if config.kind == "network" or config.backbone is None:
        return (3, *config.data.image_size)
    return _backbone_map(config.backbone.name, config.backbone.layer, config.data.image_size)


@lru_cache(maxsize=64)
def _backbone_map(name: str, layer: int, image_size: tuple[int, int]) -> tuple[int, int, int]:
    from fusion_bench.encoders.vision import build_backbone  # noqa: PLC0415 - imports timm, which takes seconds

    backbone = _on_meta(lambda: build_backbone(name, layer=layer, image_size=image_size))
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
