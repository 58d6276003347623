"""Resolves an arm as written to the settings of its cells: finds classes, checks settings and drops defaults."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from fusion_bench.encoders.packages import package_of
from fusion_bench.errors import FusionBenchError, WeightsError
from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arm_specs import ArmSpec
from fusion_bench.spec.catalogue import (
    Catalogue,
    ConfiguredClass,
    NamedClass,
    check_backbone,
    configure_class,
    find_class,
    try_construct,
)
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.sections import (
    OVERRIDABLE,
    SECTIONS,
    WEIGHTS,
    BackboneSection,
    TextSection,
)
from fusion_bench.spec.document.tree import Node, merge_nodes, written_path
from fusion_bench.spec.resolve_data import ResolvedData
from fusion_bench.storage import canonical, file_digest, folder_digest
from fusion_bench.training.config import (
    BackboneConfig,
    CellConfig,
    Component,
    FusionConfig,
    HeadConfig,
    Json,
    TrainConfig,
    hash_reference,
)

if TYPE_CHECKING:
    from fusion_bench.contract import Width
    from fusion_bench.tasks.task import Task

C = TypeVar("C")
TRIAL_VOCABULARY_SIZE = 2
"""The vocabulary size with which a text encoder is constructed once to check its settings."""


@dataclass(frozen=True, eq=False)
class ResolvedArm:
    """An arm with all its settings.

    Attributes:
        spec: the arm as written.
        config: the settings of its cells, with seed 0.
        arm: the class of the arm with its settings.
        text: the class of the text encoder with its settings.
        language_dim: channels of the encoded words.
        heads: the kinds of head of the study's task, the default first.
    """

    spec: ArmSpec
    config: CellConfig
    arm: ConfiguredClass
    text: ConfiguredClass
    language_dim: int
    heads: tuple[str, ...]

    def value(self, key: str) -> Json:
        """Return the value, or the default, of a setting (``kernel_size``) or study key (``fusion.depth``)."""
        section, dot, name = key.partition(".")
        if not dot:
            return self.arm.value(key)
        if section == "text" and name != "encoder":
            return self.text.value(name)
        if section == "text":
            return self.text.named.target.asked
        if key == "head.kind" and self.heads:
            return self.config.head.kind or self.heads[0]
        return cast("Json", getattr(getattr(self.config, section), name))

    @property
    def free_width(self) -> Width | None:
        """The width that a matched budget may choose.

        None for controls, networks and modules without a width, and where the study writes the width.
        """
        if self.spec.control or self.spec.kind == "network":
            return None
        width: Width | None = self.arm.named.cls.width
        settable = width is not None and width.argument in self.arm.named.signature.names
        return width if width is not None and settable and width.argument not in self.arm.written else None


class Resolver:
    """Resolves the arms of one study and records every mistake in ``problems``.

    Attributes:
        weight_files: the files of backbone weights and of text encoders that arms named so far, by SHA-256.
    """

    def __init__(self, tree: Node, catalogue: Catalogue, problems: Problems) -> None:
        self._tree, self._catalogue, self._problems = tree, catalogue, problems
        self._classes: dict[tuple[str, Path, str], NamedClass | None] = {}
        self._language_dims: dict[str, int] = {}
        self.weight_files: dict[str, Path] = {}

    @functools.cached_property
    def _backbones(self) -> Sequence[str]:
        return self._catalogue.backbones()

    def named(self, spec: ArmSpec) -> NamedClass | None:
        """Return the class of an arm; None after a mistake."""
        from fusion_bench.contract import FusionModule, VisionLanguageNetwork  # noqa: PLC0415 - imports torch

        key = (spec.kind, spec.name.location.folder, str(spec.name.value))
        if key not in self._classes:
            module = spec.kind == "module"
            self._classes[key] = (
                find_class(self._catalogue.modules, FusionModule, spec.name, self._problems)
                if module
                else find_class(self._catalogue.networks, VisionLanguageNetwork, spec.name, self._problems)
            )
        return self._classes[key]

    def resolve(self, spec: ArmSpec, data: ResolvedData, *, construct: bool = True) -> ResolvedArm | None:
        """Return an arm with all its settings; None after a mistake.

        Args:
            spec: the arm as written.
            data: the study's data set.
            construct: construct the arm's class once to check its settings.
        """
        fusion = self._config(FusionConfig, spec)
        task = self._task_class(data)
        head = self._head(spec, task)
        train = self._config(TrainConfig, spec)
        backbone = self._backbone(spec, data)
        text = self._text(spec)
        named = self.named(spec)
        arm = configure_class(named, spec.settings, OVERRIDABLE, self._problems) if named else None
        if text is None or arm is None or fusion is None or head is None or train is None:
            return None
        if spec.kind == "network":
            fusion = FusionConfig(coordinates=fusion.coordinates)
        language_dim = self._language_dim(text, spec)
        if construct and language_dim and not self._can_construct(spec, arm, fusion, language_dim):
            return None
        config = CellConfig(
            data=data.config,
            backbone=backbone,
            text=text.component,
            fusion=fusion,
            arm=arm.component,
            kind=spec.kind,
            head=head,
            train=train,
            seed=0,
            threads=self._threads(),
        )
        return ResolvedArm(spec, config, arm, text, language_dim, () if task is None else task.heads)

    def _threads(self) -> int:
        node = self._tree.children.get("threads")
        return node.value if node is not None and isinstance(node.value, int) else 1

    def _section(self, name: str, spec: ArmSpec) -> Node:
        """Return a section of the study with the keys that the arm overrides."""
        written = self._tree.children.get(name)
        if written is None or written.value is None:
            written = Node({}, (written or self._tree).location, name)
        return merge_nodes(written, spec.sections.get(name)) or written

    def _config(self, cls: type[C], spec: ArmSpec) -> C | None:
        """Return a section whose keys are the fields of the dataclass ``cls``; None after a mistake in the arm."""
        name = cls.__name__.removesuffix("Config").lower()
        node = self._section(name, spec)
        section = self._problems.validate_section(SECTIONS[name], node)
        if section is None:
            # After a mistake in the study's own section, defaults let the other checks of the arm go on.
            return None if name in spec.sections else cls()
        return cls(**{field.name: getattr(section, field.name) for field in fields(cast("Any", cls))})

    def _task_class(self, data: ResolvedData) -> type[Task] | None:
        from fusion_bench.registries import TASKS  # noqa: PLC0415 - imports torch

        return TASKS.load(data.task) if data.task else None

    def _head(self, spec: ArmSpec, task: type[Task] | None) -> HeadConfig | None:
        """Return the settings of the head, with an empty kind for the task's first; None after a mistake."""
        head = self._config(HeadConfig, spec)
        if head is None or task is None:
            return head
        written = self._section("head", spec).children
        for key, node in written.items():
            if key not in {"width", "kind", *task.head_settings}:
                self._problems.add(node, f"is not a setting of the heads of {task.name}; leave it out")
        if head.kind and head.kind not in task.heads:
            hint = did_you_mean(head.kind, task.heads)
            self._problems.add(written["kind"], f"{task.name} has no head {head.kind!r}{hint}")
        return replace(head, kind="") if head.kind == task.heads[0] else head

    def _backbone(self, spec: ArmSpec, data: ResolvedData) -> BackboneConfig | None:
        node = self._section("backbone", spec)
        if spec.kind == "network":
            self._refuse_slot_settings(spec)
            return None
        if not node.children:
            reason = (
                "controls are modules and need a backbone; add one, or write controls: false"
                if spec.control
                else "every module needs a backbone; add one"
            )
            self._problems.add(node, f"is missing: {reason}")
            return None
        name = node.children.get("name")
        known = (
            name is not None
            and isinstance(name.value, str)
            and check_backbone(name, self._backbones, self._problems)
        )
        section = self._problems.validate_section(BackboneSection, node)
        if section is None:
            return None
        size = data.config.image_size
        if (
            known
            and min(size) > 0
            and (problem := self._catalogue.backbone_problem(section.name, section.layer, size))
        ):
            self._problems.add(node.children.get("layer", node), problem)
        source, sha256 = section.weights, None
        if source not in WEIGHTS:
            source, sha256 = "file", self._weight_file(node.children["weights"])
        elif source == "pretext" and not self._has_pretext(data):
            self._problems.add(
                node.children["weights"],
                f"pretext weights are trained on scenes of a built-in data set, and {data.config.name} is not built "
                "in; write imagenet, package, random or file:PATH, or start from a study on a built-in data set",
            )
        elif source == "package":
            self._check_package(node)
        weights = cast("Literal['imagenet', 'package', 'random', 'file', 'pretext']", source)
        return BackboneConfig(section.name, section.layer, weights, sha256, section.frozen)

    def _check_package(self, node: Node) -> None:
        """Record a mistake for a model whose weights no package holds; a package that is not installed is none."""
        try:
            package_of(str(node.children["name"].value))
        except WeightsError as error:
            self._problems.add(node.children["weights"], str(error))

    def _has_pretext(self, data: ResolvedData) -> bool:
        """Return whether there can be pretext weights for the data set or for the study that this one starts from."""
        start = self._tree.children.get("start")
        warm_start = start is not None and start.value is not None
        return data.adapter.built_in or not data.known or warm_start

    def _refuse_slot_settings(self, spec: ArmSpec) -> None:
        for key, node in spec.sections.get("fusion", Node({}, self._tree.location)).children.items():
            if key == "slot":
                self._problems.add(node, "a network has no slot; leave this out")
            elif key in {"width", "depth"}:
                self._problems.add(node, f"a network has no slot, so it has no {key}; leave this out")

    def _weight_file(self, node: Node) -> str | None:
        path = written_path(node, "file:")
        try:
            sha256 = file_digest(path)
        except OSError as error:
            self._problems.add(node, f"cannot read the weights {path}: {error.strerror}")
            return None
        self.weight_files[sha256] = path.resolve()
        return sha256

    def _text(self, spec: ArmSpec) -> ConfiguredClass | None:
        from fusion_bench.contract import TextEncoder  # noqa: PLC0415 - imports torch

        node = self._section("text", spec)
        section = self._problems.validate_section(TextSection, node)
        if section is None:
            return None
        encoder = node.children.get("encoder", Node(section.encoder, node.location, "text.encoder"))
        named = find_class(self._catalogue.text_encoders, TextEncoder, encoder, self._problems)
        if named is None:
            return None
        configured = configure_class(named, node.without("encoder"), ("encoder",), self._problems)
        configured = configured and self._hash_files(configured, node)
        # As in `_config`: defaults, if every setting has one, let the other checks go on.
        failed = "text" in spec.sections or set(named.signature.names) - set(named.signature.defaults)
        return configured or (None if failed else ConfiguredClass(named, {}, Component(named.target)))

    def _hash_files(self, configured: ConfiguredClass, node: Node) -> ConfiguredClass | None:
        """Return the class with its files and folders replaced by their hashes; None if one does not exist."""
        files: dict[str, Path] = {}
        hashes: dict[str, Json] = {}
        for name in configured.named.signature.paths:
            if name not in configured.component.settings:
                continue
            written = node.children[name]
            try:
                path = written_path(written)
                path = path if path.exists() else configured.named.cls.locate(str(written.value))
                sha256 = folder_digest(path) if path.is_dir() else file_digest(path)
            except (FusionBenchError, OSError) as error:
                self._problems.add(written, str(error))
                return None
            files[sha256], hashes[name] = path.resolve(), hash_reference(sha256)
        self.weight_files.update(files)
        component = replace(configured.component, settings={**configured.component.settings, **hashes})
        return replace(configured, component=component, files=files)

    def _language_dim(self, text: ConfiguredClass, spec: ArmSpec) -> int:
        """Return the channels of the encoded words; 0 after a mistake. Equal encoders are constructed once."""
        component = canonical([text.named.target.identity, text.component.settings])
        if component not in self._language_dims:
            encoder = try_construct(text, self._section("text", spec), self._problems, TRIAL_VOCABULARY_SIZE)
            if encoder is None:
                return 0
            self._language_dims[component] = int(encoder.language_dim)
        return self._language_dims[component]

    def _can_construct(
        self, spec: ArmSpec, arm: ConfiguredClass, fusion: FusionConfig, language_dim: int
    ) -> bool:
        if spec.kind == "network":
            return try_construct(arm, spec.where, self._problems, language_dim) is not None
        first = try_construct(arm, spec.where, self._problems, fusion.width, language_dim)
        if first is None or fusion.depth == 1 or fusion.slot == "uniform" or first.out_dim == fusion.width:
            return first is not None
        return try_construct(arm, spec.where, self._problems, first.out_dim, language_dim) is not None
