"""Finds the classes that a study names, checks their settings and constructs them once before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fusion_bench.errors import FusionBenchError, bounded_line
from fusion_bench.foreign import message_of
from fusion_bench.registry import Registry, Target, did_you_mean
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Node
from fusion_bench.spec.signatures import (
    Signature,
    missing_attributes,
    missing_declarations,
    signature_of,
)
from fusion_bench.training.config import Component, Json, resolve_paths

if TYPE_CHECKING:
    from fusion_bench.contract import FusionModule, TextEncoder, VisionLanguageNetwork
    from fusion_bench.samples.dataset import DataSet

T = TypeVar("T")


@dataclass(frozen=True)
class Catalogue:
    """The components that a study may name.

    Attributes:
        modules: the registry of fusion modules.
        networks: the registry of end-to-end networks.
        text_encoders: the registry of text encoders.
        datasets: the registry of data sets.
        backbones: returns timm's names of backbones; called only for a study with a backbone.
        backbone_problem: returns why a backbone has no such layer for images of a height and width, or None.
    """

    modules: Registry[FusionModule]
    networks: Registry[VisionLanguageNetwork]
    text_encoders: Registry[TextEncoder]
    datasets: Registry[DataSet]
    backbones: Callable[[], Sequence[str]]
    backbone_problem: Callable[[str, int, tuple[int, int]], str | None]


def installed_catalogue() -> Catalogue:
    """Return the components that are installed in this environment."""
    from fusion_bench.registries import (  # noqa: PLC0415 - imports torch
        DATASETS,
        MODULES,
        NETWORKS,
        TEXT_ENCODERS,
    )

    return Catalogue(MODULES, NETWORKS, TEXT_ENCODERS, DATASETS, _timm_backbones, _backbone_problem)


def _timm_backbones() -> Sequence[str]:
    import timm  # noqa: PLC0415 - takes seconds

    names: list[str] = timm.list_models()
    return names


def _backbone_problem(name: str, layer: int, image_size: tuple[int, int]) -> str | None:
    from fusion_bench.encoders.vision import backbone_problem  # noqa: PLC0415 - imports torch and timm

    return backbone_problem(name, layer, image_size)


@dataclass(frozen=True, eq=False)
class NamedClass:
    """A class that the study names.

    Attributes:
        target: the reference that the class is imported by.
        cls: the class.
        signature: the settings that it takes.
    """

    target: Target
    cls: type[Any]
    signature: Signature


@dataclass(frozen=True, eq=False)
class ConfiguredClass:
    """A class with its settings.

    Attributes:
        named: the class.
        written: the settings that the study writes, as JSON values.
        component: the class and the settings that differ from a default.
        files: the files that the component names, by SHA-256.
    """

    named: NamedClass
    written: Mapping[str, Json]
    component: Component
    files: Mapping[str, Path] = field(default_factory=dict)

    def value(self, setting: str) -> Json:
        """Return the value of a setting; its default where the study does not write it."""
        return self.written.get(setting, self.named.signature.defaults.get(setting))

    def construct(self, *arguments: Any) -> Any:
        """Return an instance with these settings after the positional ``arguments``."""
        return self.named.cls(*arguments, **resolve_paths(self.component.settings, self.files))


def find_class(registry: Registry[T], base: type[Any], name: Node, problems: Problems) -> NamedClass | None:
    """Import a class and read its signature; record a mistake and return None if that fails.

    Args:
        registry: the registry of names.
        base: the class that it must be a subclass of.
        name: a node with a registered name, ``package.module:Class`` or ``file.py[:Class]``.
        problems: collects the mistakes.
    """
    try:
        target, cls = registry.find(str(name.value), name.location.folder)
        if not issubclass(cls, base):
            problems.add(name, f"{cls.__name__} is not a {base.__name__}")
            return None
        if missing := missing_declarations(cls, base):
            problems.add(name, f"{cls.__name__} does not define {', '.join(missing)}")
            return None
        return NamedClass(target, cls, signature_of(cls))
    except FusionBenchError as error:
        problems.add(name, str(error))
    return None


def configure_class(
    named: NamedClass, settings: Node, other_keys: Sequence[str], problems: Problems
) -> ConfiguredClass | None:
    """Return a class with its settings, checked against the constructor's types; None after recording mistakes.

    Args:
        named: the class.
        settings: the settings as written.
        other_keys: keys that the study file allows in the same place, for suggestions about unknown keys.
        problems: collects the mistakes.
    """
    validated = problems.validate_settings(named.signature, settings, other_keys)
    if validated is None:
        return None
    component = Component(named.target, named.signature.without_defaults(validated))
    return ConfiguredClass(named, named.signature.written(validated), component)


def try_construct(
    configured: ConfiguredClass, where: Node, problems: Problems, *arguments: Any
) -> Any | None:
    """Return an instance of a class, or None after recording the constructor's refusal as a mistake.

    Values that only the constructor can check are so checked before any training.

    Args:
        configured: the class with its settings.
        where: the node that a mistake is recorded at.
        problems: collects the mistakes.
        arguments: the positional arguments of the constructor.
    """
    from torch.random import fork_rng  # noqa: PLC0415 - imports torch

    try:
        with fork_rng(devices=[]):
            instance = configured.construct(*arguments)
    except (Exception, SystemExit) as error:  # a constructor may refuse settings by any exception
        said = "" if isinstance(error, SystemExit) else bounded_line(str(error))
        problems.add(
            where, f"{configured.named.cls.__name__} refuses these settings: {said or message_of(error)}"
        )
        return None
    if missing := missing_attributes(instance):
        problems.add(
            where, f"the constructor of {configured.named.cls.__name__} does not set {', '.join(missing)}"
        )
        return None
    return instance


def check_backbone(name: Node, names: Sequence[str], problems: Problems) -> bool:
    """Return True if timm has the backbone; else record a mistake.

    Args:
        name: a node with the backbone's name; a pretraining tag after the dot is not checked.
        names: timm's names of backbones.
        problems: collects the mistakes.
    """
    architecture = str(name.value).partition(".")[0]
    if architecture not in names:
        hint = did_you_mean(architecture, names)
        hint = hint if "did you mean" in hint else " (timm.list_models() lists the names)"
        problems.add(name, f"unknown timm backbone {name.value!r}{hint}")
    return architecture in names
