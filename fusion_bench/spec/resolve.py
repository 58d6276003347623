"""From an arm as written to a cell's settings: classes found, settings held to constructors, defaults dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import Target, did_you_mean
from fusion_bench.spec.arm_specs import ArmSpec
from fusion_bench.spec.catalogue import (
    Catalogue,
    ConfiguredClass,
    NamedClass,
    configure_class,
    known_backbone,
    named_class,
    try_construct,
)
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.schema import (
    OVERRIDABLE,
    SECTIONS,
    WEIGHTS,
    BackboneSection,
    DataSection,
    TextSection,
)
from fusion_bench.spec.document.tree import Node, merged
from fusion_bench.storage import file_digest, folder_digest
from fusion_bench.training.config import (
    BackboneConfig,
    CellConfig,
    Component,
    DataConfig,
    FusionConfig,
    HeadConfig,
    Json,
    TrainConfig,
    hash_reference,
)

if TYPE_CHECKING:
    from fusion_bench.contract import Width
    from fusion_bench.samples.dataset import DataSet
    from fusion_bench.tasks.task import Task

C = TypeVar("C")
NOTHING_LEARNT = 2  # vocabulary size with which a text encoder is tried out


@dataclass(frozen=True, eq=False)
class ResolvedArm:
    """An arm with everything decided.

    Attributes:
        candidate: the arm as written.
        config: what its cells are asked, with seed 0.
        arm, text: its class and the text encoder's, with their settings as written.
        language_dim: channels of the encoded words.
        heads: kinds of head of the study's task, the default first.
    """

    spec: ArmSpec
    config: CellConfig
    arm: ConfiguredClass
    text: ConfiguredClass
    language_dim: int
    heads: tuple[str, ...]

    def value(self, key: str) -> Json:
        """The value of a setting (``kernel_size``) or study key (``fusion.depth``), defaults included."""
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
    def knob(self) -> Width | None:
        """The width that a matched budget may choose: none for controls, for networks, for modules without
        one, and where the study writes it.
        """
        if self.spec.control or self.spec.kind == "network":
            return None
        knob: Width | None = self.arm.named.cls.width
        settable = knob is not None and knob.argument in self.arm.named.signature.names
        return knob if knob is not None and settable and knob.argument not in self.arm.written else None


@dataclass(frozen=True, eq=False)
class ResolvedData:
    """The data set of a study.

    Where the file does not say it right, a stand-in lets the checks of everything else go on.

    Attributes:
        config: what cells are asked.
        adapter: its class.
        instance: made only to hold its settings to the constructor; None if that refuses them.
        task: what is asked of it; empty if that is not known.
    """

    config: DataConfig
    adapter: type[Any]
    instance: Any
    task: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The task's metrics that the data set wants, the primary one first; none if they are not known."""
        wanted: tuple[str, ...] = self.adapter.tasks.get(self.task, ())
        return wanted

    @property
    def judging(self) -> tuple[str, ...]:
        """The splits that a report may judge; none if they are not known."""
        splits = getattr(self.instance, "splits", None)
        return (splits.select, *splits.evaluate) if splits else ()


class _Unknown:
    """Stands in for a data set that the file does not name right."""

    name, version, built_in = "unknown", "", False
    tasks: ClassVar[Mapping[str, tuple[str, ...]]] = {}


_NO_DATA = DataConfig("unknown", Component(Target("unknown:Unknown")), "", (0, 0))


class Resolver:
    """Resolves the arms of one study; notes every mistake in ``problems``.

    Attributes:
        weight_files: backbone weight files, and what text encoders read, met so far, by SHA-256.
    """

    def __init__(self, tree: Node, catalogue: Catalogue, problems: Problems) -> None:
        self._tree, self._catalogue, self._problems = tree, catalogue, problems
        self._classes: dict[tuple[str, Path, str], NamedClass | None] = {}
        self.weight_files: dict[str, Path] = {}

    def data(self) -> ResolvedData:
        """The data set, the same for every arm."""
        from fusion_bench.samples.dataset import DataSet  # noqa: PLC0415 - imports torch

        node = self._tree.children.get("data", self._tree.having({}))
        section = self._problems.section(DataSection, node) if node.children else None
        name = node.children.get("name")
        if name is None or not isinstance(name.value, str):
            return ResolvedData(_NO_DATA, _Unknown, None)
        named = named_class(self._catalogue.datasets, DataSet, name, self._problems)
        if named is None:
            return ResolvedData(_NO_DATA, _Unknown, None)
        beside = tuple(DataSection.model_fields)
        picked = configure_class(named, node.without(*beside), beside, self._problems)
        instance = try_construct(picked, node, self._problems, Path()) if picked else None
        task = self._task(node, named.cls)
        if section is None or picked is None:
            return ResolvedData(replace(_NO_DATA, name=named.cls.name), named.cls, instance, task)
        config = DataConfig(
            name=named.cls.name,
            adapter=picked.component,
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

    def _task(self, data: Node, adapter: type[DataSet]) -> str:
        """What is asked of the data set; empty where it does not offer what is written."""
        node = data.children.get("task")
        asked = adapter.task(node.value if node is not None and isinstance(node.value, str) else "")
        if asked in adapter.tasks:
            return asked
        assert node is not None  # noqa: S101 - the first task is one of them
        self._problems.add(
            node, f"{adapter.name} offers no task {asked!r}{did_you_mean(asked, adapter.tasks)}"
        )
        return ""

    def named(self, spec: ArmSpec) -> NamedClass | None:
        """The class of an arm."""
        from fusion_bench.contract import FusionModule, VisionLanguageNetwork  # noqa: PLC0415 - imports torch

        key = (spec.kind, spec.name.place.folder, str(spec.name.value))
        if key not in self._classes:
            module = spec.kind == "module"
            self._classes[key] = (
                named_class(self._catalogue.modules, FusionModule, spec.name, self._problems)
                if module
                else named_class(self._catalogue.networks, VisionLanguageNetwork, spec.name, self._problems)
            )
        return self._classes[key]

    def resolve(self, spec: ArmSpec, data: ResolvedData, *, trial: bool = True) -> ResolvedArm | None:
        """Decide everything about an arm.

        Args:
            candidate: the arm as written.
            data: the study's data set.
            trial: whether to construct the classes once.
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
        if trial and language_dim and not self._tried(spec, arm, fusion, language_dim):
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
        written = self._tree.children.get(name)
        if written is None or written.value is None:
            written = Node({}, (written or self._tree).place, name)
        return merged(written, spec.sections.get(name)) or written

    def _config(self, kind: type[C], spec: ArmSpec) -> C | None:
        """A section that is nothing but the fields of a dataclass of the same name."""
        name = kind.__name__.removesuffix("Config").lower()
        node = self._section(name, spec)
        section = self._problems.section(SECTIONS[name], node)
        if section is None:
            # Noted; with the defaults instead, what else is wrong with the arm is found as well.
            return None if name in spec.sections else kind()
        return kind(**{field.name: getattr(section, field.name) for field in fields(cast("Any", kind))})

    def _task_class(self, data: ResolvedData) -> type[Task] | None:
        from fusion_bench.registries import TASKS  # noqa: PLC0415 - imports torch

        return TASKS.load(data.task) if data.task else None

    def _head(self, spec: ArmSpec, task: type[Task] | None) -> HeadConfig | None:
        """The task's head; what it does not know is a mistake, and its first kind need not be named."""
        head = self._config(HeadConfig, spec)
        if head is None or task is None:
            return head
        written = self._section("head", spec).children
        for key, node in written.items():
            if key not in {"width", "kind", *task.head_settings}:
                self._problems.add(node, f"means nothing to the head of {task.name}; leave it out")
        if head.kind and head.kind not in task.heads:
            hint = did_you_mean(head.kind, task.heads)
            self._problems.add(written["kind"], f"{task.name} has no head {head.kind!r}{hint}")
        return replace(head, kind="") if head.kind == task.heads[0] else head

    def _backbone(self, spec: ArmSpec, data: ResolvedData) -> BackboneConfig | None:
        node = self._section("backbone", spec)
        if spec.kind == "network":
            self._no_slot(spec)
            return None
        if not node.children:
            what = "controls are modules too; add one or write controls: false"
            self._problems.add(
                node, f"is missing: {what if spec.control else 'every module arm stands on one'}"
            )
            return None
        name = node.children.get("name")
        if name is not None and isinstance(name.value, str):
            known_backbone(name, self._catalogue, self._problems)
        section = self._problems.section(BackboneSection, node)
        if section is None:
            return None
        source, sha256 = section.weights, None
        if source not in WEIGHTS:
            source, sha256 = "file", self._weight_file(node.children["weights"])
        elif source == "pretext" and not self._has_pretext(data):
            self._problems.add(
                node.children["weights"],
                f"pretext weights are learnt from the scenes of a built-in data set, which {data.config.name} "
                "is not; write imagenet, random or file:PATH, or start from a study of a built-in one",
            )
        weights = cast("Literal['imagenet', 'random', 'file', 'pretext']", source)
        return BackboneConfig(section.name, section.layer, weights, sha256, section.frozen)

    def _has_pretext(self, data: ResolvedData) -> bool:
        """Whether the data set's own scenes were learnt from, or those of the study that this one starts from."""
        start = self._tree.children.get("start")
        begins = start is not None and start.value is not None
        return data.adapter.built_in or data.config.name == _Unknown.name or begins

    def _no_slot(self, spec: ArmSpec) -> None:
        for key, node in spec.sections.get("fusion", Node({}, self._tree.place)).children.items():
            if key == "slot":
                self._problems.add(node, "a network stands in no slot")
            elif key in {"width", "depth"}:
                self._problems.add(node, f"a network has no slot whose {key} could be set")

    def _weight_file(self, node: Node) -> str | None:
        path = node.place.folder / Path(str(node.value).removeprefix("file:")).expanduser()
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
        section = self._problems.section(TextSection, node)
        if section is None:
            return None
        encoder = node.children.get("encoder", Node(section.encoder, node.place, "text.encoder"))
        named = named_class(self._catalogue.text_encoders, TextEncoder, encoder, self._problems)
        if named is None:
            return None
        picked = configure_class(named, node.without("encoder"), ("encoder",), self._problems)
        picked = picked and self._with_files(picked, node)
        # As in `_config`: with the defaults, where every setting has one, the other checks go on.
        without = "text" in spec.sections or set(named.signature.names) - set(named.signature.defaults)
        return picked or (None if without else ConfiguredClass(named, {}, Component(named.target)))

    def _with_files(self, picked: ConfiguredClass, node: Node) -> ConfiguredClass | None:
        """The same with every file or folder that its settings name hashed; None if one is not there."""
        files: dict[str, Path] = {}
        hashes: dict[str, Json] = {}
        for name in picked.named.signature.paths:
            if name not in picked.component.settings:
                continue
            written = node.children[name]
            try:
                path = written.place.folder / Path(str(written.value)).expanduser()
                path = path if path.exists() else picked.named.cls.locate(str(written.value))
                sha256 = folder_digest(path) if path.is_dir() else file_digest(path)
            except (FusionBenchError, OSError) as error:
                self._problems.add(written, str(error))
                return None
            files[sha256], hashes[name] = path.resolve(), hash_reference(sha256)
        self.weight_files.update(files)
        component = replace(picked.component, settings={**picked.component.settings, **hashes})
        return replace(picked, component=component, files=files)

    def _language_dim(self, text: ConfiguredClass, spec: ArmSpec) -> int:
        encoder = try_construct(text, self._section("text", spec), self._problems, NOTHING_LEARNT)
        return 0 if encoder is None else int(encoder.language_dim)

    def _tried(self, spec: ArmSpec, arm: ConfiguredClass, fusion: FusionConfig, language_dim: int) -> bool:
        if spec.kind == "network":
            return try_construct(arm, spec.where, self._problems, language_dim) is not None
        first = try_construct(arm, spec.where, self._problems, fusion.width, language_dim)
        if first is None or fusion.depth == 1 or fusion.slot == "uniform" or first.out_dim == fusion.width:
            return first is not None
        return try_construct(arm, spec.where, self._problems, first.out_dim, language_dim) is not None
