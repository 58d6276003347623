"""The settings of a cell: plain frozen dataclasses that are stored as JSON and need no further package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import Target
from fusion_bench.serialisation import from_json, to_json
from fusion_bench.storage import digest

Json: TypeAlias = str | int | float | bool | list["Json"] | dict[str, "Json"] | None
Settings: TypeAlias = Mapping[str, Json]
_HASHED = "sha256:"


@dataclass(frozen=True)
class Component:
    """A class and the keyword arguments to construct it with; arguments equal to a default are left out."""

    target: Target
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class DataConfig:
    """A data set and how it is read.

    Attributes:
        name: the data set's registered name.
        adapter: the class that reads its files, with its settings.
        version: the version that the adapter declares.
        image_size: height and width in pixels that images are resized to.
        longest_text: longer texts are cut to this number of words; None cuts nothing.
        limit: at most this number of samples of each split is kept (toy runs); None keeps all.
        task: the name of the task; the data set's first task if empty.
        on_bad_image: the treatment of a damaged image file: ``fail`` fails the cell, ``skip`` leaves out the
            samples of that image.
        vocabulary: the words that are known: those of the training split, or of all published splits.
        resize: the way of resizing to ``image_size``: ``stretch`` changes the shape of the image, ``letterbox``
            keeps its shape and fills the rest with grey.
        normalise: ``backbone`` normalises images by the mean and standard deviation that the backbone was trained
            with (an end-to-end network gets values in [0, 1]); ``none`` gives values in [0, 1] to both.
    """

    name: str
    adapter: Component
    version: str
    image_size: tuple[int, int]
    longest_text: int | None = None
    limit: int | None = None
    task: str = ""
    on_bad_image: Literal["fail", "skip"] = "fail"
    vocabulary: Literal["train", "published"] = "train"
    resize: Literal["stretch", "letterbox"] = "stretch"
    normalise: Literal["backbone", "none"] = "backbone"


@dataclass(frozen=True)
class BackboneConfig:
    """A timm backbone and the map taken from it.

    Attributes:
        name: timm's name of the backbone.
        layer: index into timm's ``feature_info``; negative numbers count from the end.
        weights: the origin of the initial weights.
        weights_sha256: SHA-256 of the weights file if ``weights`` is ``file``, else None.
        frozen: True if the backbone is not trained; its maps are then computed once and cached.
    """

    name: str
    layer: int = -1
    weights: Literal["imagenet", "package", "random", "file", "pretext"] = "random"
    weights_sha256: str | None = None
    frozen: bool = False


@dataclass(frozen=True)
class FusionConfig:
    """The slot that surrounds the fusion modules; it is the same for every arm.

    Attributes:
        width: channels of the map that every module gets.
        depth: number of copies of the module, one after the other.
        coordinates: ``shared`` appends the same two coordinate maps for every arm, before the slot and before the
            head; ``module`` leaves position codes to the modules; ``none`` appends none.
        slot: ``published`` uses each module as its paper's block; ``uniform`` puts the same 3x3 mixer after each.
    """

    width: int = 64
    depth: int = 2
    coordinates: Literal["shared", "module", "none"] = "shared"
    slot: Literal["published", "uniform"] = "published"


@dataclass(frozen=True)
class HeadConfig:
    """The head of the task.

    Attributes:
        width: channels of the map that the head gets: the output of the slot's adapter.
        hidden: channels of the head's hidden layer.
        dropout: dropout rate before the last layer.
        pool: the pooling of the map over its positions.
        kind: one of the task's kinds of head; the task's first if empty.
    """

    width: int = 64
    hidden: int = 256
    dropout: float = 0.0
    pool: Literal["max_mean", "max", "mean"] = "max_mean"
    kind: str = ""


@dataclass(frozen=True)
class CheckpointConfig:
    """When a cell writes a checkpoint: at the first step that ends ``minutes`` or more after the last one."""

    minutes: float


@dataclass(frozen=True)
class TrainConfig:
    """The training loop.

    Attributes:
        epochs: number of epochs; 0 only evaluates the weights that the cell starts from.
        batch_size: samples per step.
        learning_rate: the highest learning rate, reached after the warm-up.
        weight_decay: weight decay of parameters with more than one axis.
        warmup: share of all steps in which the learning rate rises to its highest value.
        clip: largest norm of the gradient.
        patience: number of epochs without a better selection metric after which training stops; None never stops
            early.
        precision: number format of the forward pass; ``auto`` is bfloat16 on a GPU and float32 elsewhere.
        optimizer: the optimizer.
        betas: decay rates of the optimizer's two moments.
        eps: the number that the optimizer adds to its denominator.
        warmup_from: learning rate of the first step of the warm-up; None starts with the first of equal increments.
        final_learning_rate: learning rate at the end of the cosine.
        ema: decay of the moving average of the weights, which is then evaluated and kept; None evaluates and keeps
            the weights themselves.
        one_expression_per_referent: True if an epoch uses one randomly chosen sentence of each referent.
        checkpoint: when the state of the training is written; None writes no checkpoint. It changes no result, so it
            is no part of the cell's identity.
        compile: the way in which the slot and the head of a training step are compiled; see
            `fusion_bench.training.fit.compiled`. It changes results as another precision does, so it is part of the
            cell's identity.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: float = 0.05
    clip: float = 1.0
    patience: int | None = None
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    optimizer: Literal["adamw", "adam"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    warmup_from: float | None = None
    final_learning_rate: float = 0.0
    ema: float | None = None
    one_expression_per_referent: bool = False
    checkpoint: CheckpointConfig | None = None
    compile: Literal["none", "reduce-overhead"] = "none"


@dataclass(frozen=True)
class CellConfig:
    """The settings of one cell: one arm x one data set x one seed. It holds no path, device or arm label.

    Attributes:
        data: the data set.
        backbone: the backbone; None for an end-to-end network.
        text: the text encoder.
        fusion: the slot.
        arm: the fusion module or the end-to-end network.
        kind: the kind of ``arm``.
        head: the head.
        train: the training loop.
        seed: the seed that all random streams of the cell are hashed from.
        threads: torch's number of threads.
        evaluate: False for a search cell, which never reads an evaluation split.
        start: the settings, with seed 0, of the cell whose trained weights, vocabulary and answers this cell starts
            from (see `source`); None when training from scratch.
    """

    data: DataConfig
    backbone: BackboneConfig | None
    text: Component
    fusion: FusionConfig
    arm: Component
    kind: Literal["module", "network"]
    head: HeadConfig
    train: TrainConfig
    seed: int
    threads: int = 1
    evaluate: bool = True
    start: CellConfig | None = None

    @property
    def source(self) -> CellConfig | None:
        """The settings of the cell of the same seed to start from; None when training from scratch."""
        return None if self.start is None else replace(self.start, seed=self.seed)

    @property
    def id(self) -> str:
        """The cell's identity: a hash of what was asked for, without the values that equal a default."""
        return digest(_without_defaults(self.without_checkpoint()))

    def without_checkpoint(self) -> CellConfig:
        """Return the settings that the numbers depend on; a checkpoint only shortens the way to the same numbers."""
        start = None if self.start is None else self.start.without_checkpoint()
        return replace(self, train=replace(self.train, checkpoint=None), start=start)

    def to_json(self) -> dict[str, Any]:
        """Return all values as JSON types, defaults included except for checkpoints and compilation.

        These two settings came later: without them the settings are the same text as before.
        """
        values: dict[str, Any] = to_json(self)
        if self.train.checkpoint is None:
            del values["train"]["checkpoint"]
        if self.train.compile == "none":
            del values["train"]["compile"]
        if self.start is not None:
            values["start"] = self.start.to_json()
        return values

    @classmethod
    def from_json(cls, value: Any) -> CellConfig:
        """Return the settings that `to_json` wrote.

        Raises:
            FusionBenchError: a key is unknown, missing or of the wrong type.
        """
        return from_json(cls, value, "cell")


def hash_reference(sha256: str) -> str:
    """Return the value that stands for a file or folder in the settings of a cell: ``sha256:`` and its digest."""
    return f"{_HASHED}{sha256}"


def hashed_files(config: CellConfig) -> tuple[str, ...]:
    """Return the SHA-256 of the files and folders that a cell names by content: backbone weights, text encoder."""
    values = [value for value in config.text.settings.values() if isinstance(value, str)]
    weights = config.backbone.weights_sha256 if config.backbone is not None else None
    named = (value.removeprefix(_HASHED) for value in values if value.startswith(_HASHED))
    return (*([weights] if weights else []), *named)


def resolve_paths(settings: Settings, files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the settings with each `hash_reference` replaced by the path of that file on this machine.

    Args:
        settings: the settings of a component.
        files: paths on this machine by SHA-256.

    Raises:
        FusionBenchError: ``files`` lacks one of them.
    """
    return {name: _resolve_path(name, value, files) for name, value in settings.items()}


def _resolve_path(name: str, value: Any, files: Mapping[str, Path]) -> Any:
    if not isinstance(value, str) or not value.startswith(_HASHED):
        return value
    sha256 = value.removeprefix(_HASHED)
    if sha256 not in files:
        raise FusionBenchError(
            f"the text encoder reads its {name} from the file with SHA-256 {sha256}, whose path is not known; pass "
            f"--weights {sha256}=PATH"
        )
    return files[sha256]


def _without_defaults(value: Any) -> Any:
    if isinstance(value, Target):
        return value.identity
    if is_dataclass(value):
        kept = {}
        for item in fields(value):
            current = getattr(value, item.name)
            default = item.default_factory() if item.default_factory is not MISSING else item.default
            if current != default:
                kept[item.name] = _without_defaults(current)
        return kept
    return to_json(value)
