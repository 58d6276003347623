"""The rows of ``fusion-bench list``: one dataclass per kind of component, and what is read to fill it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fusion_bench.encoders.packages import PACKAGES
from fusion_bench.errors import FusionBenchError
from fusion_bench.foreign import message_of
from fusion_bench.registry import Entry, Registry
from fusion_bench.spec.document.files import read_study_tree
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Node

if TYPE_CHECKING:
    from fusion_bench.contract import FusionModule, VisionLanguageNetwork
    from fusion_bench.samples.dataset import DataSet
    from fusion_bench.tasks.task import Task

BACKBONES = (
    "test_resnet",
    "test_convnext",
    "test_efficientnet",
    "test_vit",
    "test_mambaout",
    "test_maxvit",
    "tf_efficientnet_lite0",
    "resnet50",
    "resnet101",
)
"""The backbones that the project's own tests and studies use; a study may name any other model of timm."""

_LISTENS = {
    "words": "word-level",
    "sentence": "sentence-level",
    "both": "words and sentence",
    "nothing": "nothing",
}


@dataclass(frozen=True)
class ListRow:
    """A component.

    Attributes:
        name: what a study writes.
        broken: why it cannot be used, with file and line; empty if it can.
    """

    name: str
    broken: str = field(default="", kw_only=True)


R = TypeVar("R", bound=ListRow)


@dataclass(frozen=True)
class ModuleRow(ListRow):
    """A module, network or control.

    Attributes:
        kind: ``module``, ``network`` or ``control``.
        summary: the first line of its docstring.
        citation: its paper.
        listens: its language input: ``word-level``, ``sentence-level``, ``words and sentence`` or ``nothing``.
        position_code: the position code that it adds itself.
        origin: the package that offers it.
    """

    kind: str
    summary: str
    citation: str
    listens: str
    position_code: str
    origin: str


@dataclass(frozen=True)
class DataSetRow(ListRow):
    """A data set; ``files`` is "makes its own" for a built-in one, else the address where its files are published."""

    task: str
    version: str
    summary: str
    metrics: str
    files: str
    origin: str


@dataclass(frozen=True)
class EncoderRow(ListRow):
    """A text encoder."""

    summary: str
    origin: str


@dataclass(frozen=True)
class HeadRow(ListRow):
    """A head of a task; the first of a task is its default. ``settings`` are the keys of ``head`` that it reads."""

    task: str
    settings: str
    summary: str
    metrics: str
    origin: str


@dataclass(frozen=True)
class BackboneRow(ListRow):
    """A backbone: the channels and the stride of each map, from layer 0, and where its ImageNet weights come from.

    Attributes:
        maps: the channels and the stride of each map.
        imagenet: the place that ``weights: imagenet`` downloads from.
        package: the package that ``weights: package`` reads.
    """

    maps: str
    imagenet: str
    package: str


@dataclass(frozen=True)
class StudyRow(ListRow):
    """A ready study; ``name`` is its file, ``about`` the comment at its top."""

    title: str
    data: str
    about: str


def component_rows(
    registry: Registry[Any], row: Callable[[Entry, Any], R | Sequence[R]], kind: type[R]
) -> list[R]:
    """Return one row per registered name; what cannot be used is a row that says why."""
    rows: list[R] = [broken_row(kind, offer.name, offer.origin, offer.reason) for offer in registry.broken()]
    for entry in registry.entries().values():
        try:
            made = row(entry, entry.target.load())
        except FusionBenchError as error:
            made = broken_row(kind, entry.name, entry.origin, str(error))
        except Exception as error:  # a class of a package may declare anything
            made = broken_row(kind, entry.name, entry.origin, message_of(error))
        rows += [made] if isinstance(made, ListRow) else made
    return rows


def broken_row(kind: type[R], name: str, origin: str, reason: str) -> R:
    """Return the row of something that cannot be used; what is not known of it is empty."""
    empty = {item.name: "" for item in fields(kind)} | {"name": name, "broken": reason}
    return kind(**(empty | {"origin": origin} if "origin" in empty else empty))


def module_row(entry: Entry, cls: type[FusionModule]) -> ModuleRow:
    """Return the row of a module."""
    control = cls.reads != {"image", "language"} or cls.sentence_at_head or not cls.trainable
    return ModuleRow(
        name=entry.name,
        kind="control" if control else "module",
        summary=summary_of(cls),
        citation=str(cls.citation),
        listens=_LISTENS[cls.listens],
        position_code=cls.position_code,
        origin=entry.origin,
    )


def network_row(entry: Entry, cls: type[VisionLanguageNetwork]) -> ModuleRow:
    """Return the row of a network."""
    return ModuleRow(entry.name, "network", summary_of(cls), str(cls.citation), "", "", entry.origin)


def dataset_row(entry: Entry, cls: type[DataSet]) -> DataSetRow:
    """Return the row of a data set."""
    files = "makes its own" if cls.built_in else cls.homepage
    several = len(cls.tasks) > 1
    metrics = "; ".join(
        f"{task}: {', '.join(names)}" if several else ", ".join(names) for task, names in cls.tasks.items()
    )
    return DataSetRow(
        entry.name, ", ".join(cls.tasks), cls.version, summary_of(cls), metrics, files, entry.origin
    )


def encoder_row(entry: Entry, cls: type[Any]) -> EncoderRow:
    """Return the row of a text encoder."""
    return EncoderRow(entry.name, summary_of(cls), entry.origin)


def head_rows(entry: Entry, cls: type[Task]) -> list[HeadRow]:
    """Return the rows of the heads of a task."""
    from fusion_bench.tasks.task import HeadSettings  # noqa: PLC0415 - imports torch

    settings, metrics = ", ".join(sorted(cls.head_settings)), ", ".join(cls.metrics)
    return [
        HeadRow(head, entry.name, settings, cls.describe_head(head, HeadSettings()), metrics, entry.origin)
        for head in cls.heads
    ]


def backbone_rows() -> list[BackboneRow]:
    """Return the rows of the tested backbones."""
    import timm  # noqa: PLC0415 - takes seconds
    import torch  # noqa: PLC0415 - takes seconds
    from timm.models import get_pretrained_cfg  # noqa: PLC0415

    rows = []
    for name in BACKBONES:
        with torch.device("meta"):
            info = timm.create_model(name, features_only=True).feature_info
        maps = " ".join(f"{c}/{s}" for c, s in zip(info.channels(), info.reduction(), strict=True))
        config = get_pretrained_cfg(name)
        source = (config.hf_hub_id or config.url) if config is not None and config.has_weights else None
        package = PACKAGES[name].distribution if name in PACKAGES else "none"
        rows.append(BackboneRow(name, maps, str(source or "none"), package))
    return rows


def study_rows(folder: Path) -> list[StudyRow]:
    """Return the rows of the study files in a folder.

    Raises:
        FusionBenchError: there is no such folder.
    """
    if not folder.is_dir():
        raise FusionBenchError(
            f"there is no folder {folder} here: the ready studies lie in the project's repository; "
            "fusion-bench new study PATH.yaml writes a study of your own"
        )
    return [_study_row(file) for file in sorted(folder.glob("*.y*ml"))]


def _study_row(file: Path) -> StudyRow:
    problems = Problems()
    tree = read_study_tree(file, (), problems)
    if tree is None:
        return broken_row(StudyRow, str(file), "", str(problems.error()))
    data = tree.children.get("data", tree.having({}))
    about = " ".join(_first_comment(file.read_text(encoding="utf-8")))
    return StudyRow(str(file), _text(tree, "title"), _text(data, "name"), about)


def _text(node: Node, key: str) -> str:
    found = node.children.get(key)
    return str(found.value) if found is not None and isinstance(found.value, str) else ""


def _first_comment(text: str) -> Iterator[str]:
    """Yield the lines of the first paragraph of the comment at the top of a file, without editors' directives."""
    for line in text.splitlines():
        comment = line.removeprefix("#").strip()
        if not line.startswith("#") or not comment:
            return
        if not comment.startswith("yaml-language-server:"):
            yield comment


def summary_of(cls: type[Any]) -> str:
    """Return the first line of the docstring of a class."""
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]
