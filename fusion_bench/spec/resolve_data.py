"""Resolves the data set of a study: its adapter, the adapter's settings and the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import Target, did_you_mean
from fusion_bench.spec.catalogue import (
    Catalogue,
    ConfiguredClass,
    configure_class,
    find_class,
    try_construct,
)
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.sections import DataSection
from fusion_bench.spec.document.tree import Node
from fusion_bench.spec.signatures import canonical_settings
from fusion_bench.training.config import Component, DataConfig

if TYPE_CHECKING:
    from fusion_bench.samples.dataset import DataSet


@dataclass(frozen=True, eq=False)
class ResolvedData:
    """The data set of a study.

    After a mistake, a placeholder takes the place of what is not known, so that the rest of the file is checked too.

    Attributes:
        config: the data settings of the study's cells.
        adapter: the class of the data set.
        instance: an instance that was made to check the settings; None if the constructor refuses them.
        task: the name of the task; empty if it is not known.
    """

    config: DataConfig
    adapter: type[Any]
    instance: Any
    task: str = ""

    @property
    def known(self) -> bool:
        """True if the study file names a data set that exists."""
        return self.adapter is not _UnknownDataSet

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the data set reports for the task, the primary one first; empty if they are not known."""
        metrics: tuple[str, ...] = self.adapter.tasks.get(self.task, ())
        return metrics

    @property
    def report_splits(self) -> tuple[str, ...]:
        """The splits that results exist for: selection and evaluation splits; empty if they are not known."""
        splits = getattr(self.instance, "splits", None)
        return (splits.select, *splits.evaluate) if splits else ()


class _UnknownDataSet:
    """The placeholder for a data set that the file does not name correctly."""

    name, version, built_in = "unknown", "", False
    tasks: ClassVar[Mapping[str, tuple[str, ...]]] = {}


_NO_DATA = DataConfig("unknown", Component(Target("unknown:Unknown")), "", (0, 0))


def resolve_data(tree: Node, catalogue: Catalogue, problems: Problems) -> ResolvedData:
    """Return the data set of a study, the same for every arm; record mistakes in ``problems``."""
    from fusion_bench.samples.dataset import DataSet  # noqa: PLC0415 - imports torch

    node = tree.children.get("data", tree.having({}))
    section = problems.validate_section(DataSection, node) if node.children else None
    name = node.children.get("name")
    if name is None or not isinstance(name.value, str):
        return ResolvedData(_NO_DATA, _UnknownDataSet, None)
    named = find_class(catalogue.datasets, DataSet, name, problems)
    if named is None:
        return ResolvedData(_NO_DATA, _UnknownDataSet, None)
    section_keys = tuple(DataSection.model_fields)
    configured = configure_class(named, node.without(*section_keys), section_keys, problems)
    configured = _canonical(configured, node, problems) if configured else None
    instance = try_construct(configured, node, problems, Path()) if configured else None
    task = _resolve_task(node, named.cls, problems)
    if section is None or configured is None:
        return ResolvedData(replace(_NO_DATA, name=named.cls.name), named.cls, instance, task)
    config = DataConfig(
        name=named.cls.name,
        adapter=configured.component,
        version=named.cls.version,
        image_size=section.image_size,
        longest_text=section.longest_text,
        resize=section.resize,
        normalise=section.normalise,
        task="" if task == named.cls.task() else task,
        on_bad_image=section.on_bad_image,
        vocabulary=section.vocabulary,
    )
    return ResolvedData(config, named.cls, instance, task)


def _canonical(configured: ConfiguredClass, node: Node, problems: Problems) -> ConfiguredClass | None:
    """Return the data set with its settings in one spelling, without those that then equal a default.

    None after recording that the data set's own code failed.
    """
    named = configured.named
    try:
        settings = canonical_settings(named.cls, named.signature, configured.component.settings)
    except FusionBenchError as error:
        problems.add(node, str(error))
        return None
    return replace(configured, component=replace(configured.component, settings=settings))


def _resolve_task(data: Node, adapter: type[DataSet], problems: Problems) -> str:
    """Return the name of the task; empty if the data set does not support the task that the file names."""
    node = data.children.get("task")
    name = adapter.task(node.value if node is not None and isinstance(node.value, str) else "")
    if name in adapter.tasks:
        return name
    assert node is not None  # noqa: S101 - without a node, the task is the first of the adapter's tasks
    problems.add(
        node, f"{adapter.name} does not support the task {name!r}{did_you_mean(name, adapter.tasks)}"
    )
    return ""
