"""The sections of a study file: the keys of each, their types and their defaults.

Settings of modules, text encoders and data sets are open here; `fusion_bench.spec.signatures` checks them against the
constructors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fusion_bench.limits import Limits, Resources
from fusion_bench.registry import did_you_mean
from fusion_bench.training.config import (
    BackboneConfig,
    CheckpointConfig,
    DataConfig,
    FusionConfig,
    HeadConfig,
    TrainConfig,
)

WEIGHTS = ("imagenet", "package", "random", "pretext")
DEFAULT_SEEDS = 5
"""The number of seeds of a study that names none."""


def list_or_other(value: Any) -> str:
    """Return the tag of a value that is either a list or something else."""
    return "list" if isinstance(value, list) else "other"


def _one_line(text: str) -> str:
    if "\n" in text.strip():
        raise ValueError("must be one line")
    return text.strip()


def _weights(weights: str) -> str:
    if weights not in WEIGHTS and not (weights.startswith("file:") and len(weights) > len("file:")):
        hint = did_you_mean(weights, WEIGHTS) if "mean" in did_you_mean(weights, WEIGHTS) else ""
        raise ValueError(f"must be imagenet, package, random, pretext or file:PATH, not {weights!r}{hint}")
    return weights


def _unique(seeds: list[int]) -> list[int]:
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise ValueError(f"names {', '.join(map(str, twice))} more than once")
    return seeds


OneLine: TypeAlias = Annotated[str, AfterValidator(_one_line)]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**31)]
SeedList: TypeAlias = Annotated[list[Seed], Field(min_length=1, max_length=1000), AfterValidator(_unique)]
Values: TypeAlias = Annotated[list[Any], Field(min_length=1)]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Pixels: TypeAlias = Annotated[int, Field(ge=8, le=8192)]
Channels: TypeAlias = Annotated[int, Field(ge=1, le=8192)]


class Section(BaseModel):
    """A part of the study file; an unknown key in it is an error."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class DataSection(BaseModel):
    """The data set; further keys are settings of its adapter."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    name: str = Field(
        description="a registered data set (`fusion-bench list datasets`), package.module:Class or file.py[:Class]"
    )
    root: str | None = Field(
        None,
        description="folder with the published files; --data NAME=PATH and FUSION_BENCH_DATA_NAME take precedence",
    )
    image_size: tuple[Pixels, Pixels] = Field(
        description="[height, width] in pixels that images are resized to"
    )
    longest_text: int | None = Field(
        None, ge=1, le=10_000, description="longer texts are cut to this number of words; null cuts nothing"
    )
    task: str | None = Field(
        None, description="one of the tasks that the data set supports; null: its first task"
    )
    on_bad_image: Literal["fail", "skip"] = Field(
        DataConfig.on_bad_image,
        description="a damaged image file fails the cell, or its samples are left out and counted",
    )
    vocabulary: Literal["train", "published"] = Field(
        DataConfig.vocabulary,
        description="known words: those of the training split, or of all published splits",
    )
    resize: Literal["stretch", "letterbox"] = Field(
        DataConfig.resize,
        description="stretch the image to image_size, or keep its shape and fill the rest with grey",
    )
    normalise: Literal["backbone", "none"] = Field(
        DataConfig.normalise,
        description="normalise images as in the backbone's own training (networks get values in [0, 1]), "
        "or give values in [0, 1] to all",
    )


class BackboneSection(Section):
    """The timm backbone that every module arm shares."""

    name: str = Field(description="timm's name of the backbone")
    layer: int = Field(
        BackboneConfig.layer,
        ge=-100,
        le=100,
        description="index of the map in timm's feature_info; -1 is the coarsest",
    )
    weights: Annotated[str, AfterValidator(_weights)] = Field(
        BackboneConfig.weights,
        description="imagenet (timm's, downloaded), package (ImageNet weights of an installed package), random, "
        "pretext or file:PATH",
        json_schema_extra={"pattern": f"^({'|'.join(WEIGHTS)}|file:.+)$"},
    )
    frozen: bool = Field(
        BackboneConfig.frozen,
        description="true: the backbone is not trained and its maps are computed once",
    )


class TextSection(BaseModel):
    """The text encoder; further keys are its settings."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    encoder: str = Field(
        "gru", description="a registered text encoder, package.module:Class or file.py[:Class]"
    )


class FusionSection(Section):
    """The slot that surrounds the modules of every arm."""

    width: Channels = Field(FusionConfig.width, description="channels of the map that every module gets")
    depth: int = Field(
        FusionConfig.depth, ge=1, le=100, description="copies of the module, one after the other"
    )
    slot: Literal["published", "uniform"] = Field(
        FusionConfig.slot,
        description="use each module as its paper's block, or put the same residual 3x3 mixer after each module",
    )
    coordinates: Literal["shared", "module", "none"] = Field(
        FusionConfig.coordinates,
        description="append two coordinate maps in every arm (shared), or leave position codes to the modules",
    )


class HeadSection(Section):
    """The head of the task, identical in every arm."""

    width: Channels = Field(HeadConfig.width, description="channels of the map that the head gets")
    hidden: Channels = Field(HeadConfig.hidden, description="channels of the head's hidden layer")
    dropout: float = Field(HeadConfig.dropout, ge=0, lt=1, description="dropout rate before the last layer")
    pool: Literal["max_mean", "max", "mean"] = Field(
        HeadConfig.pool, description="how the map is pooled over its positions"
    )
    kind: str = Field(
        HeadConfig.kind, description="one of the task's kinds of head; empty: the task's first kind"
    )


class CheckpointSection(Section):
    """Checkpoints inside a cell: a cell that was killed goes on from the last one, to the same result."""

    minutes: float = Field(
        gt=0, description="the shortest time between two checkpoints of a cell, in minutes"
    )


def _checkpoint(section: CheckpointSection) -> CheckpointConfig:
    return CheckpointConfig(section.minutes)


class TrainSection(Section):
    """The training loop, the same for every arm unless an arm writes its own settings."""

    epochs: int = Field(
        TrainConfig.epochs,
        ge=0,
        le=100_000,
        description="0 evaluates without training, in a study that starts from another study's weights",
    )
    batch_size: int = Field(
        TrainConfig.batch_size, ge=2, le=1_000_000, description="samples per step; batch norm needs two"
    )
    learning_rate: float = Field(
        TrainConfig.learning_rate, gt=0, description="the highest learning rate, reached after the warm-up"
    )
    weight_decay: float = Field(
        TrainConfig.weight_decay, ge=0, description="weight decay of parameters with more than one axis"
    )
    warmup: float = Field(
        TrainConfig.warmup, ge=0, lt=1, description="share of all steps in which the learning rate rises"
    )
    clip: float = Field(TrainConfig.clip, gt=0, description="largest norm of the gradient")
    patience: int | None = Field(
        TrainConfig.patience,
        ge=1,
        le=100_000,
        description="training stops after this number of epochs without a better selection metric; "
        "null never stops early",
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        TrainConfig.precision,
        description="precision of the forward pass; auto: bfloat16 on a GPU, float32 elsewhere",
    )
    optimizer: Literal["adamw", "adam"] = Field(TrainConfig.optimizer, description="the optimizer")
    betas: tuple[Share, Share] = Field(
        TrainConfig.betas, description="decay rates of the optimizer's two moments"
    )
    eps: float = Field(
        TrainConfig.eps, gt=0, description="the number that the optimizer adds to its denominator"
    )
    warmup_from: float | None = Field(
        TrainConfig.warmup_from,
        ge=0,
        description="learning rate of the first step of the warm-up; null: the first of equal increments",
    )
    final_learning_rate: float = Field(
        TrainConfig.final_learning_rate, ge=0, description="learning rate at the end of the cosine"
    )
    ema: float | None = Field(
        TrainConfig.ema,
        gt=0,
        lt=1,
        description="decay of the moving average of the weights, which is then evaluated and kept; null: no average",
    )
    one_expression_per_referent: bool = Field(
        TrainConfig.one_expression_per_referent,
        description="true: an epoch uses one randomly chosen sentence of each referent",
    )
    checkpoint: Annotated[CheckpointSection, AfterValidator(_checkpoint)] | None = Field(
        None, description="checkpoints inside a cell; null: none. They change no result."
    )
    compile: Literal["none", "reduce-overhead"] = Field(
        TrainConfig.compile,
        description="torch.compile of slot and head in a training step, for GPUs; results differ by rounding",
    )


class ArmSection(BaseModel):
    """One thing under comparison; further keys are settings of its class."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    module: str | None = Field(
        None, description="a registered module, package.module:Class or file.py[:Class]"
    )
    network: str | None = Field(
        None, description="a registered end-to-end network, package.module:Class or file.py[:Class]"
    )
    train: TrainSection | None = Field(
        None, description="training settings in which this arm differs from the study"
    )
    fusion: FusionSection | None = Field(
        None, description="slot settings in which this arm differs from the study"
    )


class VarySection(Section):
    """Variations of one arm (an ablation)."""

    base: ArmSection = Field(description="the arm that is varied")
    one_at_a_time: Mapping[str, Values] = Field(
        {},
        description="lists of values by setting (kernel_size) or study key (fusion.depth); each value gives an arm "
        "in which only this key is changed",
    )
    grid: Mapping[str, Values] = Field(
        {}, description="lists of values by the same keys; each combination of values gives an arm"
    )


class LimitsSection(Section):
    """What a cell may take before it is stopped; no part of a cell's identity."""

    minutes: float | None = Field(
        Limits.minutes,
        gt=0,
        description="longest time of a cell; one that takes longer fails; null: no limit",
    )
    memory_gb: float | None = Field(
        Limits.memory_gb,
        gt=0,
        description="largest memory of a worker in GB, mapped files not counted; a cell that needs more fails; "
        "null: no limit",
    )
    retries: int = Field(
        Limits.retries, ge=0, le=100, description="how often a cell is started again whose worker died"
    )


class ResourcesSection(Section):
    """What a cluster is asked for, for each worker; no part of a cell's identity."""

    cpus: float | None = Field(
        Resources.cpus, gt=0, le=4096, description="CPUs of a worker; null: as many as threads"
    )
    gpus: float | None = Field(
        Resources.gpus,
        ge=0,
        le=64,
        description="GPUs of a worker, such as 0.25; null: 1 where cells are trained on GPUs",
    )


class BudgetSection(Section):
    """Equal cost of the modules and adapters of every arm, by a choice of the modules' widths."""

    match: Literal["none", "params", "flops"] = Field(
        "none", description="the cost that is equal: parameters, or multiply-adds of one sample"
    )
    tolerance: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="largest relative distance from the budget; an arm outside it is shown and not ranked",
    )


class ExpectedSection(Section):
    """A published or earlier value that a result is compared with."""

    arm: str = Field(description="the label of the arm")
    metric: str = Field(description="one of the data set's metrics")
    split: str = Field(description="the split on which the value was measured")
    value: float = Field(description="the value")
    source: OneLine = Field(description="where the value comes from, one line")


class ReportSection(Section):
    """The metric, the split and the margin of the verdicts, and the contents of the report."""

    primary: str | None = Field(
        None, description="the metric of every verdict; null: the data set's first metric"
    )
    split: str | None = Field(
        None, description="the split of every verdict; null: the data set's first evaluation split"
    )
    margin: float | None = Field(
        None, gt=0, description="the largest difference that counts as equal; null: no verdict of equivalence"
    )
    pictures: int = Field(6, ge=0, le=1000, description="number of sample images in the report")


class StartSection(Section):
    """Another study: every arm starts from the weights, vocabulary and answers of that study's arm and seed."""

    study: str = Field(description="the other study's file; run that study with --keep-weights first")


SECTIONS: Mapping[str, type[BaseModel]] = {
    "backbone": BackboneSection,
    "text": TextSection,
    "fusion": FusionSection,
    "head": HeadSection,
    "train": TrainSection,
}
"""The sections whose keys may vary between arms, by name."""
VARIABLE = tuple(SECTIONS)
OVERRIDABLE = ("train", "fusion")
"""The sections that an arm may override."""
UNVARIED = ("train.checkpoint",)
"""Study keys that change no result, so that arms cannot differ in them alone."""
OPEN = ("text",)
"""The sections that also take the settings of a class."""
