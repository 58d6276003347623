"""Reduces a study to toy size for ``run --smoke``, which shows that every part of the study works.

The toy study has a few arms, one context, a few samples, two epochs, two seeds and random backbone weights, and runs
in this process. One more arm, whose loss is not a number, shows how a failed cell is reported. The results mean
nothing; the name of the study ends in ``-smoke``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from fusion_bench.contract import Citation, FusionModule, Language, Listens, PositionCode, Space, Width
from fusion_bench.registry import Target
from fusion_bench.samples.dataset import DataSet
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.training.config import BackboneConfig, CellConfig, Component

PLANTED = "planted_nan"
_SAMPLES = 48
_ARMS = 4
_CONTEXTS = 1
_MAX_SIDE, _TOY_SIDE = 128, 96
"""Pixels: images with a longer side than the first number are resized, their longer side to the second number."""
_LEARNING_RATE_FACTOR = 10
"""The factor on the learning rate; without it all arms give the most frequent answer after so few steps."""


class NotFinite(FusionModule):
    """A module whose output is not a number, so that its cell fails."""

    citation: ClassVar[Citation] = Citation("A planted failure", "fusion-bench", "smoke", 2026, "")
    width: ClassVar[Width | None] = None
    listens: ClassVar[Listens] = "nothing"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """Return an empty space."""
        return {}

    def __init__(self, visual_dim: int, language_dim: int) -> None:
        super().__init__()
        self.out_dim = visual_dim

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """Return a map ``[B, C, H, W]`` of values that are not a number."""
        return visual * float("nan")


def smoke_study(study: Study) -> Study:
    """Return the study at toy size under the name ``<name>-smoke``."""
    toys = tuple(replace(arm, config=_toy_config(arm.config)) for arm in _some_arms(study.arms))
    first = next((toy.config for toy in toys if toy.config.kind == "module"), toys[0].config)
    planted = replace(
        toys[0],
        label=PLANTED,
        role="arm",
        component=PLANTED,
        factor_names=(),
        config=replace(
            first,
            arm=Component(Target("fusion_bench.spec.smoke:NotFinite", name=PLANTED)),
            kind="module",
            # A module needs a backbone, and a study of networks alone has none.
            backbone=first.backbone or BackboneConfig("test_resnet"),
        ),
    )
    search = study.search
    return replace(
        study,
        data=first.data,
        name=f"{study.name}-smoke",
        title=f"A smoke run of {study.name}: toy sizes, numbers without meaning",
        arms=(*toys, planted),
        seeds=study.seeds[:2] if len(study.seeds) > 1 else (study.seeds[0], study.seeds[0] + 1),
        arm_seeds=None,
        looks=(),
        search=replace(
            search,
            trials=3 if search.pruner else 2,
            batch=3 if search.pruner else 2,
            seeds=search.seeds[:1],
            spaces={**search.spaces, PLANTED: {}},
        )
        if search
        else None,
        expected=(),
        source=None,
        contexts={label: smoke_study(context) for label, context in [*study.contexts.items()][:_CONTEXTS]},
    )


def _some_arms(arms: Sequence[Arm]) -> list[Arm]:
    """Return the reference, the first few of the other arms and the controls."""
    others = [arm.label for arm in arms if arm.role == "arm"][:_ARMS]
    return [arm for arm in arms if arm.role != "arm" or arm.label in others]


def _toy_config(config: CellConfig) -> CellConfig:
    adapter: type[DataSet] = config.data.adapter.target.load()
    settings = {**config.data.adapter.settings, **adapter.toy_settings}
    data = replace(
        config.data,
        adapter=replace(config.data.adapter, settings=settings),
        limit=_SAMPLES,
        image_size=_toy_image_size(config.data.image_size),
    )
    backbone = config.backbone
    if backbone is not None and backbone.weights != "random":
        backbone = replace(backbone, weights="random", weights_sha256=None)
    train = replace(
        config.train,
        epochs=2,
        batch_size=min(4, config.train.batch_size),
        learning_rate=_LEARNING_RATE_FACTOR * config.train.learning_rate,
    )
    # The cells that the study starts from do not have toy size.
    return replace(config, data=data, backbone=backbone, train=train, start=None)


def _toy_image_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of about the same shape, in multiples of 32 as end-to-end networks need them."""
    longer = max(size)
    if longer <= _MAX_SIDE:
        return size
    height, width = (max(32, round(side * _TOY_SIDE / longer / 32) * 32) for side in size)
    return height, width
