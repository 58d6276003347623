"""The shape of a study file: what every key holds. Settings of modules, encoders and data sets are open
here; `fusion_bench.spec.signatures` holds them to the constructors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from fusion_bench.registry import did_you_mean
from fusion_bench.training.config import BackboneConfig, DataConfig, FusionConfig, HeadConfig, TrainConfig

WEIGHTS = ("imagenet", "random", "pretext")
SEARCH_SEEDS = (1000,)
CONTROLS = ("question_only", "image_only", "prior", "late_concat")
"""Those of ``controls: true``."""
KNOWN_CONTROLS = (*CONTROLS, "frozen_random")


def _is_list(value: Any) -> str:
    return "list" if isinstance(value, list) else "other"


def _one_line(text: str) -> str:
    if "\n" in text.strip():
        raise ValueError("must be one line")
    return text.strip()


def _folder_safe(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", name):
        raise ValueError(f"{name!r} names a folder: write letters, digits, '.', '_', '+' and '-', at most 64")
    return name


def _source_of_weights(weights: str) -> str:
    if weights not in WEIGHTS and not (weights.startswith("file:") and len(weights) > len("file:")):
        hint = did_you_mean(weights, WEIGHTS) if "mean" in did_you_mean(weights, WEIGHTS) else ""
        raise ValueError(f"must be imagenet, random, pretext or file:PATH, not {weights!r}{hint}")
    return weights


def _unique(seeds: list[int]) -> list[int]:
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise ValueError(f"names {', '.join(map(str, twice))} more than once")
    return seeds


Scalar: TypeAlias = str | int | float | bool | None
OneLine: TypeAlias = Annotated[str, AfterValidator(_one_line)]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**31)]
SeedList: TypeAlias = Annotated[list[Seed], Field(min_length=1), AfterValidator(_unique)]
Values: TypeAlias = Annotated[list[Any], Field(min_length=1)]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Pixels: TypeAlias = Annotated[int, Field(ge=8)]


class Section(BaseModel):
    """A part of the file in which nothing unknown is ignored."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class DataSection(BaseModel):
    """The data set; further keys are settings of its adapter."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    name: str = Field(
        description="a registered data set (fusion-bench list datasets) or package.module:Class"
    )
    root: str | None = Field(
        None, description="folder with the published files; --data NAME=PATH and FUSION_BENCH_DATA_NAME win"
    )
    image_size: tuple[Pixels, Pixels] = Field(description="[height, width] that images are resized to")
    longest_text: int | None = Field(None, ge=1, description="words after this one are cut off")
    task: str | None = Field(None, description="what is asked of it; the data set's first")
    on_bad_image: Literal["fail", "skip"] = Field(
        DataConfig.on_bad_image,
        description="a file that is no whole image fails the cell, or its samples are left out and counted",
    )
    vocabulary: Literal["train", "published"] = Field(
        DataConfig.vocabulary, description="words of the training split, or of all published splits"
    )
    resize: Literal["stretch", "letterbox"] = Field(
        DataConfig.resize, description="stretched to image_size, or in its own shape on grey"
    )
    normalise: Literal["backbone", "none"] = Field(
        DataConfig.normalise,
        description="as the backbone was trained (networks get [0, 1]), or [0, 1] for all",
    )


class BackboneSection(Section):
    """The timm backbone that every module arm shares."""

    name: str = Field(description="timm's name")
    layer: int = Field(BackboneConfig.layer, description="which map of feature_info; -1 is the coarsest")
    weights: Annotated[str, AfterValidator(_source_of_weights)] = Field(
        BackboneConfig.weights, description="imagenet, random, pretext or file:PATH"
    )
    frozen: bool = Field(BackboneConfig.frozen, description="not trained; its maps are computed once")


class TextSection(BaseModel):
    """The text encoder; further keys are its settings."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    encoder: str = Field("gru", description="a registered text encoder or package.module:Class")


class FusionSection(Section):
    """The slot that every module stands in."""

    width: int = Field(FusionConfig.width, ge=1, description="channels that every module gets")
    depth: int = Field(FusionConfig.depth, ge=1, description="copies of the module, one after the other")
    slot: Literal["published", "uniform"] = Field(
        FusionConfig.slot,
        description="each module as its paper's block, or each followed by the same residual 3x3 mixer",
    )
    coordinates: Literal["shared", "module", "none"] = Field(
        FusionConfig.coordinates, description="two coordinate maps for every arm, or only what modules bring"
    )


class HeadSection(Section):
    """The task's head, identical in every arm."""

    width: int = Field(HeadConfig.width, ge=1, description="channels that the head gets")
    hidden: int = Field(HeadConfig.hidden, ge=1, description="width of its hidden layer")
    dropout: float = Field(HeadConfig.dropout, ge=0, lt=1)
    pool: Literal["max_mean", "max", "mean"] = Field(HeadConfig.pool, description="how the map is pooled")
    kind: str = Field(HeadConfig.kind, description="one of the task's heads; the task's first")


class TrainSection(Section):
    """The training loop, the same for every arm unless an arm says otherwise."""

    epochs: int = Field(
        TrainConfig.epochs, ge=0, description="0 only judges, for a study that starts from another's weights"
    )
    batch_size: int = Field(TrainConfig.batch_size, ge=2, description="batch norm needs two samples")
    learning_rate: float = Field(TrainConfig.learning_rate, gt=0, description="peak, after the warm-up")
    weight_decay: float = Field(TrainConfig.weight_decay, ge=0)
    warmup: float = Field(TrainConfig.warmup, ge=0, lt=1, description="share of all steps")
    clip: float = Field(TrainConfig.clip, gt=0, description="largest norm of the gradient")
    patience: int | None = Field(
        TrainConfig.patience, ge=1, description="epochs without a better selection metric; null never stops"
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(TrainConfig.precision)
    optimizer: Literal["adamw", "adam"] = Field(TrainConfig.optimizer)
    betas: tuple[Share, Share] = Field(TrainConfig.betas, description="of the optimizer's two moments")
    eps: float = Field(TrainConfig.eps, gt=0, description="the optimizer's")
    warmup_from: float | None = Field(
        TrainConfig.warmup_from,
        ge=0,
        description="first learning rate of the warm-up; null: its first even step",
    )
    final_learning_rate: float = Field(TrainConfig.final_learning_rate, ge=0, description="end of the cosine")
    ema: float | None = Field(
        TrainConfig.ema, gt=0, lt=1, description="decay of the average of the weights that is judged and kept"
    )
    one_expression_per_referent: bool = Field(
        TrainConfig.one_expression_per_referent, description="an epoch draws one sentence of each referent"
    )


class ArmSection(BaseModel):
    """One thing under comparison; further keys are settings of its class."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    module: str | None = Field(
        None, description="a registered module, package.module:Class or file.py[:Class]"
    )
    network: str | None = Field(None, description="an end-to-end network, written the same ways")
    train: TrainSection | None = Field(None, description="what this arm trains with, where it differs")
    fusion: FusionSection | None = Field(None, description="its slot, where it differs")


class VarySection(Section):
    """Variations of one arm: an ablation."""

    base: ArmSection
    one_at_a_time: Mapping[str, Values] = Field(
        {}, description="setting (kernel_size) or study key (fusion.depth) -> values, each varied alone"
    )
    grid: Mapping[str, Values] = Field({}, description="the same keys, every combination")


class RangeSection(Section):
    """A search range; whole numbers for a setting that takes whole numbers."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | None = Field(None, ge=1, description="only for whole numbers")

    @model_validator(mode="after")
    def _in_order(self) -> RangeSection:
        if not self.low < self.high:
            raise ValueError(f"low must be less than high, not {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be greater than 0 on a logarithmic scale, not {self.low}")
        if self.log and self.step not in {None, 1}:
            raise ValueError("step and log cannot be had together")
        return self


SpaceSection: TypeAlias = Annotated[
    Annotated[RangeSection, Tag("other")] | Annotated[list[Scalar], Field(min_length=1), Tag("list")],
    Discriminator(_is_list),
]


class SearchSection(Section):
    """The same number of trials for every arm, judged on the selection split, before its seeds are trained."""

    trials: int = Field(ge=1, description="per arm")
    batch: int = Field(4, ge=1, description="trials drawn together; the result does not depend on workers")
    seeds: SeedList = Field([*SEARCH_SEEDS], description="seeds of search cells; never those of the study")
    declared: bool = Field(True, description="whether the space that each module declares is searched")
    space: Mapping[str, SpaceSection] = Field({}, description="laid on it; listed values alone are all tried")


class BudgetSection(Section):
    """Equal cost: modules and adapters of every arm, brought to the reference's by the modules' widths."""

    match: Literal["none", "params", "flops"] = Field(
        "none", description="what is equal: parameters, or multiply-adds of one sample"
    )
    tolerance: float = Field(
        0.05, gt=0, lt=1, description="an arm further off, as a share, is shown and not ranked"
    )


class ExpectedSection(Section):
    """A published or earlier value to compare with."""

    arm: str
    metric: str
    split: str
    value: float
    source: OneLine


class ReportSection(Section):
    """What the report judges and shows."""

    primary: str | None = Field(None, description="the metric of every verdict; the data set's first")
    split: str | None = Field(
        None, description="the split of every verdict; the data set's first evaluate split"
    )
    margin: float | None = Field(None, gt=0, description="a difference that counts as nothing")
    pictures: int = Field(6, ge=0, description="sample images shown")


SECTIONS: Mapping[str, type[BaseModel]] = {
    "backbone": BackboneSection,
    "text": TextSection,
    "fusion": FusionSection,
    "head": HeadSection,
    "train": TrainSection,
}
VARIABLE = tuple(SECTIONS)
OVERRIDABLE = ("train", "fusion")
OPEN = ("text",)


class StartSection(Section):
    """Every arm starts from the weights, words and answers of the same arm and seed of another study."""

    study: str = Field(description="its file; it must be run with --keep-weights first")


class StudyFile(Section):
    """A study: what to compare, on what data, with which seeds."""

    version: Literal[1]
    official: bool = Field(
        False,
        description="LaConvNet's published recipe for images and training (fusion_bench.spec.recipes)",
    )
    extends: str | list[str] | None = Field(
        None,
        description="another study file that this one is laid on, or several, each laid on those before it",
    )
    name: Annotated[str, AfterValidator(_folder_safe)] = Field(description="names the study's folder")
    title: OneLine = Field("", description="one line for the report")
    data: DataSection
    backbone: BackboneSection | None = None
    text: TextSection = TextSection.model_construct()
    fusion: FusionSection = FusionSection.model_construct()
    head: HeadSection = HeadSection.model_construct()
    train: TrainSection = TrainSection.model_construct()
    arms: Mapping[str, ArmSection | None] | None = Field(None, description="label -> arm; null drops one")
    vary: VarySection | None = None
    controls: Annotated[
        Annotated[bool, Tag("other")] | Annotated[list[Literal[KNOWN_CONTROLS]], Tag("list")],  # type: ignore[valid-type]
        Discriminator(_is_list),
    ] = Field(True, description="true: the four that ride along; false: none; or a list")
    seeds: Annotated[
        Annotated[int, Field(ge=1, le=1000), Tag("other")] | Annotated[SeedList, Tag("list")],
        Discriminator(_is_list),
    ] = Field(description="a list, or their number")
    threads: int = Field(1, ge=1, description="of torch, in every cell")
    reference: str | None = Field(None, description="the arm that the others are compared with; the first")
    start: StartSection | None = None
    search: SearchSection | None = None
    budget: BudgetSection = BudgetSection.model_construct()
    contexts: Mapping[str, Mapping[str, Any]] = Field(
        {},
        description="label -> study keys (head.pool, backbone.name): the same arms again in other surroundings, "
        "to see whether the ranking holds",
    )
    expected: list[ExpectedSection] = []
    report: ReportSection = ReportSection.model_construct()


def study_schema() -> dict[str, Any]:
    """JSON schema of the study file, for editors."""
    schema = StudyFile.model_json_schema(mode="validation")
    # What a file leaves out, the one that it extends may have.
    ways = [{"required": ["extends"]}, {"required": schema.pop("required")}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "anyOf": ways}
