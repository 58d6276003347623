"""What a cell is asked to do: plain frozen dataclasses that travel as JSON and need nothing installed."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import Target
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
    """A data set: its adapter, declared version, and the height and width that images are resized to.

    ``longest_text`` cuts texts to that many words; ``limit`` keeps that many samples of each split (toy runs);
    ``task`` is what is asked of it, the data set's first if empty. ``on_bad_image`` says what a file that is no
    whole image does: fail the cell, or leave out its samples. ``vocabulary`` is made of the words of the training
    split, or of all published splits. ``resize`` is how a picture comes to
    ``image_size``: stretched, or in its own shape on grey. ``normalise`` is ``backbone`` (by the mean and deviation
    that the backbone was trained with; a network gets values in [0, 1]) or ``none`` (values in [0, 1] for all).
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
        name: timm's name.
        layer: index into ``feature_info`` (negative from the end).
        weights: where they come from; ``weights_sha256`` names the file for ``file``.
        frozen: True if it is not trained; its maps are then computed once and cached.
    """

    name: str
    layer: int = -1
    weights: Literal["imagenet", "random", "file", "pretext"] = "random"
    weights_sha256: str | None = None
    frozen: bool = False


@dataclass(frozen=True)
class FusionConfig:
    """The slot: see DESIGN, "what surrounds a module is the same for all".

    ``slot`` is ``published`` (each module as its paper's block) or ``uniform`` (a 3x3 mixer after each).
    """

    width: int = 64
    depth: int = 2
    coordinates: Literal["shared", "module", "none"] = "shared"
    slot: Literal["published", "uniform"] = "published"


@dataclass(frozen=True)
class HeadConfig:
    """The adapter's output width and the task head's settings; ``kind`` is the task's first head if empty."""

    width: int = 64
    hidden: int = 256
    dropout: float = 0.0
    pool: Literal["max_mean", "max", "mean"] = "max_mean"
    kind: str = ""


@dataclass(frozen=True)
class TrainConfig:
    """The loop.

    Attributes:
        learning_rate: the peak.
        warmup: share of all steps in which it is reached from ``warmup_from``; None starts with the first of equal
            steps to the peak.
        final_learning_rate: where the cosine ends.
        patience: epochs without a better selection metric; None never stops early.
        ema: decay of the moving average of the weights that is judged and kept; None judges the weights.
        one_expression_per_referent: an epoch draws one sentence of each referent.
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


@dataclass(frozen=True)
class CellConfig:
    """One arm x one data set x one seed. It holds no path, device, worker count or arm label.

    Attributes:
        evaluate: False for a search cell, which never sees an evaluation split.
        start: the cell whose trained weights, words and answers this one starts from, with seed 0: see `source`.
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
        """The cell of the same seed that this one starts from; None for one that starts from scratch."""
        return None if self.start is None else replace(self.start, seed=self.seed)

    @property
    def id(self) -> str:
        """The cell's identity: a hash of what was asked, values equal to a default dropped."""
        return digest(_dropping_defaults(self))

    def to_json(self) -> dict[str, Any]:
        """Every value, written out, as JSON types."""
        written: dict[str, Any] = _plain(self)
        return written

    @classmethod
    def from_json(cls, value: Any) -> CellConfig:
        """Read `to_json` back.

        Raises:
            FusionBenchError: a key is unknown, missing or of the wrong type.
        """
        built = _build(cls, value, "cell")
        assert isinstance(built, CellConfig)  # noqa: S101 - narrows the type
        return built


def hash_reference(sha256: str) -> str:
    """A file or folder as the settings of a cell hold it."""
    return f"{_HASHED}{sha256}"


def resolve_paths(settings: Settings, files: Mapping[str, Path]) -> dict[str, Any]:
    """Settings with every hash replaced by the path of what it stands for on this machine.

    Raises:
        FusionBenchError: nobody said where that is.
    """
    return {name: _bound(name, value, files) for name, value in settings.items()}


def _bound(name: str, value: Any, files: Mapping[str, Path]) -> Any:
    if not isinstance(value, str) or not value.startswith(_HASHED):
        return value
    sha256 = value.removeprefix(_HASHED)
    if sha256 not in files:
        raise FusionBenchError(
            f"the text encoder reads a {name} with SHA-256 {sha256}, and nobody said where it is; pass --weights "
            f"{sha256}=PATH"
        )
    return files[sha256]


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _dropping_defaults(value: Any) -> Any:
    if isinstance(value, Target):
        return value.identity
    if is_dataclass(value):
        kept = {}
        for item in fields(value):
            current = getattr(value, item.name)
            default = item.default_factory() if item.default_factory is not MISSING else item.default
            if current != default:
                kept[item.name] = _dropping_defaults(current)
        return kept
    return _plain(value)


def _build(kind: Any, value: Any, where: str) -> Any:
    """Construct a dataclass (or union, tuple, mapping of plain values) from JSON types, strictly."""
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, Mapping):
            raise FusionBenchError(f"{where} must be a mapping, not {value!r}")
        hints = get_type_hints(kind)
        known = {item.name: item for item in fields(kind)}
        for key in value:
            if key not in known:
                raise FusionBenchError(f"{where} has an unknown key {key!r}")
        for name, item in known.items():
            if name not in value and item.default is MISSING and item.default_factory is MISSING:
                raise FusionBenchError(f"{where} lacks {name!r}")
        return kind(**{key: _build(hints[key], item, f"{where}.{key}") for key, item in value.items()})
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        options = get_args(kind)
        if value is None and type(None) in options:
            return None
        return _build(next(option for option in options if option is not type(None)), value, where)
    if origin is tuple:
        return tuple(value)
    if origin is Literal:
        if value not in get_args(kind):
            raise FusionBenchError(f"{where} is {value!r}; known: {', '.join(map(str, get_args(kind)))}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in {int, float, str, bool} and (not isinstance(value, kind) or (kind is int and value is True)):
        raise FusionBenchError(f"{where} must be of type {kind.__name__}, not {value!r}")
    return value
