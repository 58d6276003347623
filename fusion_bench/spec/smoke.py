"""``run --smoke``: any study at toy size, to see that every part of it works. The one toy mode.

A few arms, one context, a few samples, two short epochs, two seeds, random backbone weights, everything in this
process; and one more arm whose loss is not a number, to see how a failed cell is shown. Its results mean nothing, and
its name says so.
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
_LARGEST, _SIDE = 128, 96
"""Pixels: an image of a longer side is made smaller, its longer side to the second number."""
_HASTE = 10  # times the learning rate: after so few steps arms would all give the commonest answer


class NotFinite(FusionModule):
    """Turns every map into not-a-number: the planted failure."""

    citation: ClassVar[Citation] = Citation("A planted failure", "fusion-bench", "smoke", 2026, "")
    width: ClassVar[Width | None] = None
    listens: ClassVar[Listens] = "nothing"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """Nothing to search."""
        return {}

    def __init__(self, visual_dim: int, language_dim: int) -> None:
        super().__init__()
        self.out_dim = visual_dim

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, H, W]`` of not-a-number."""
        return visual * float("nan")


def smoke_study(study: Study) -> Study:
    """The same study at toy size, under the name ``<name>-smoke``."""
    toys = tuple(replace(arm, config=_toy(arm.config)) for arm in _few(study.arms))
    first = next((toy.config for toy in toys if toy.config.kind == "module"), toys[0].config)
    planted = replace(
        toys[0],
        label=PLANTED,
        role="arm",
        component=PLANTED,
        factors={},
        config=replace(
            first,
            arm=Component(Target("fusion_bench.spec.smoke:NotFinite", name=PLANTED)),
            kind="module",
            # A study of networks alone has no backbone for it to stand on.
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
        search=replace(
            search, trials=2, batch=2, seeds=search.seeds[:1], spaces={**search.spaces, PLANTED: {}}
        )
        if search
        else None,
        expected=(),
        source=None,
        contexts={label: smoke_study(context) for label, context in [*study.contexts.items()][:_CONTEXTS]},
    )


def _few(arms: Sequence[Arm]) -> list[Arm]:
    """The reference, the first few of the others and the controls: a study of every module is no toy."""
    others = [arm.label for arm in arms if arm.role == "arm"][:_ARMS]
    return [arm for arm in arms if arm.role != "arm" or arm.label in others]


def _toy(config: CellConfig) -> CellConfig:
    adapter: type[DataSet] = config.data.adapter.target.load()
    settings = {**config.data.adapter.settings, **adapter.toy_settings}
    data = replace(
        config.data,
        adapter=replace(config.data.adapter, settings=settings),
        limit=_SAMPLES,
        image_size=_small(config.data.image_size),
    )
    backbone = config.backbone
    if backbone is not None and backbone.weights != "random":
        backbone = replace(backbone, weights="random", weights_sha256=None)
    train = replace(
        config.train,
        epochs=2,
        batch_size=min(4, config.train.batch_size),
        learning_rate=_HASTE * config.train.learning_rate,
    )
    # What it would start from is not at toy size.
    return replace(config, data=data, backbone=backbone, train=train, start=None)


def _small(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of about the same shape, multiples of 32 as end-to-end networks want them."""
    longer = max(size)
    if longer <= _LARGEST:
        return size
    height, width = (max(32, round(side * _SIDE / longer / 32) * 32) for side in size)
    return height, width
