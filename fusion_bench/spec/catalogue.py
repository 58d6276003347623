"""Finding the classes that a study names, and trying them out before anything trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import Registry, Target, did_you_mean
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Node
from fusion_bench.spec.signatures import Signature, signature_of
from fusion_bench.training.config import Component, Json, resolve_paths

if TYPE_CHECKING:
    from fusion_bench.contract import FusionModule, TextEncoder, VisionLanguageNetwork
    from fusion_bench.samples.dataset import DataSet

T = TypeVar("T")


@dataclass(frozen=True)
class Catalogue:
    """Everything that a study may name.

    Attributes:
        modules, networks, text_encoders, datasets: the registries.
        backbones: lists timm's names; called only when a study has a backbone.
    """

    modules: Registry[FusionModule]
    networks: Registry[VisionLanguageNetwork]
    text_encoders: Registry[TextEncoder]
    datasets: Registry[DataSet]
    backbones: Callable[[], Sequence[str]]


def installed() -> Catalogue:
    """What is installed in this environment."""
    from fusion_bench.registries import (  # noqa: PLC0415 - imports torch
        DATASETS,
        MODULES,
        NETWORKS,
        TEXT_ENCODERS,
    )

    return Catalogue(MODULES, NETWORKS, TEXT_ENCODERS, DATASETS, _timm_backbones)


def _timm_backbones() -> Sequence[str]:
    import timm  # noqa: PLC0415 - takes seconds

    names: list[str] = timm.list_models()
    return names


@dataclass(frozen=True, eq=False)
class NamedClass:
    """A class that the study names: where it comes from, and what it can be given."""

    target: Target
    cls: type[Any]
    signature: Signature


@dataclass(frozen=True, eq=False)
class ConfiguredClass:
    """A class with its settings: ``written`` as the study has them, ``component`` without the defaults.

    ``files`` are those that the component names by SHA-256.
    """

    named: NamedClass
    written: Mapping[str, Json]
    component: Component
    files: Mapping[str, Path] = field(default_factory=dict)

    def value(self, setting: str) -> Json:
        """A setting's value, the default where the study does not write it."""
        return self.written.get(setting, self.named.signature.defaults.get(setting))

    def construct(self, *arguments: Any) -> Any:
        """An instance with these settings, before which ``arguments`` stand."""
        return self.named.cls(*arguments, **resolve_paths(self.component.settings, self.files))


def named_class(registry: Registry[T], base: type[Any], name: Node, problems: Problems) -> NamedClass | None:
    """Import the class that ``name`` stands for and read its signature; note what is wrong with it.

    Args:
        registry: knows the names.
        base: what the class must be a subclass of.
        name: a node with a registered name, ``package.module:Class`` or ``file.py[:Class]``.
        problems: the collector.
    """
    try:
        target = registry.resolve(str(name.value), name.place.folder)
        cls = target.load()
        if not issubclass(cls, base):
            problems.add(name, f"{cls.__name__} is not a {base.__name__}")
            return None
        if missing := sorted(getattr(cls, "__abstractmethods__", ())):
            problems.add(name, f"{cls.__name__} does not define {', '.join(missing)}")
            return None
        return NamedClass(target, cls, signature_of(cls))
    except FusionBenchError as error:
        problems.add(name, str(error))
    except Exception as error:  # importing runs code that is not ours: whatever it raises, the user is told
        problems.add(name, f"{name.value} cannot be imported: {type(error).__name__}: {error}")
    return None


def configure_class(
    named: NamedClass, settings: Node, beside: Sequence[str], problems: Problems
) -> ConfiguredClass | None:
    """Hold settings to the constructor's types; ``beside`` are keys that the study reads in the same place."""
    validated = problems.settings(named.signature, settings, beside)
    if validated is None:
        return None
    component = Component(named.target, named.signature.kept(validated))
    return ConfiguredClass(named, named.signature.written(validated), component)


def try_construct(
    chosen_class: ConfiguredClass, where: Node, problems: Problems, *arguments: Any
) -> Any | None:
    """Construct once, so that a value which only the constructor refuses is found before training."""
    from torch.random import fork_rng  # noqa: PLC0415 - imports torch

    try:
        with fork_rng(devices=[]):
            return chosen_class.construct(*arguments)
    except Exception as error:  # the constructor's own refusal, whatever its type
        problems.add(where, f"{chosen_class.named.cls.__name__} refuses these settings: {error}")
        return None


def known_backbone(name: Node, catalogue: Catalogue, problems: Problems) -> None:
    """Note a backbone that timm does not have; a pretraining tag after the dot is timm's business."""
    names = catalogue.backbones()
    architecture = str(name.value).partition(".")[0]
    if architecture not in names:
        hint = did_you_mean(architecture, names)
        hint = hint if "did you mean" in hint else " (timm.list_models() names them)"
        problems.add(name, f"unknown timm backbone {name.value!r}{hint}")
