"""From an arm as written to a cell's settings: classes found, settings held to constructors, defaults dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import Target, did_you_mean
from fusion_bench.spec.arm_specs import Candidate
from fusion_bench.spec.catalogue import Catalogue, Chosen, Named, chosen, known_backbone, named_class, tried
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
    hashed,
)

if TYPE_CHECKING:
    from fusion_bench.contract import Width
    from fusion_bench.samples.dataset import DataSet
    from fusion_bench.tasks.task import Task

C = TypeVar("C")
NOTHING_LEARNT = 2  # vocabulary size with which a text encoder is tried out


@dataclass(frozen=True, eq=False)
class Resolved:
    """An arm with everything decided.

    Attributes:
        candidate: the arm as written.
        config: what its cells are asked, with seed 0.
        arm, text: its class and the text encoder's, with their settings as written.
        language_dim: channels of the encoded words.
        heads: kinds of head of the study's task, the default first.
    """

    candidate: Candidate
    config: CellConfig
    arm: Chosen
    text: Chosen
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
        if self.candidate.control or self.candidate.kind == "network":
            return None
        knob: Width | None = self.arm.named.cls.width
        settable = knob is not None and knob.argument in self.arm.named.signature.names
        return knob if knob is not None and settable and knob.argument not in self.arm.written else None


@dataclass(frozen=True, eq=False)
class Data:
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
        self._classes: dict[tuple[str, Path, str], Named | None] = {}
        self.weight_files: dict[str, Path] = {}

    def data(self) -> Data:
        """The data set, the same for every arm."""
        from fusion_bench.samples.dataset import DataSet

        node = self._tree.children.get("data", self._tree.having({}))
        section = self._problems.section(DataSection, node) if node.children else None
        name = node.children.get("name")
        if name is None or not isinstance(name.value, str):
            return Data(_NO_DATA, _Unknown, None)
        named = named_class(self._catalogue.datasets, DataSet, name, self._problems)
        if named is None:
            return Data(_NO_DATA, _Unknown, None)
        beside = tuple(DataSection.model_fields)
        picked = chosen(named, node.without(*beside), beside, self._problems)
        instance = tried(picked, node, self._problems, Path()) if picked else None
        task = self._task(node, named.cls)
        if section is None or picked is None:
            return Data(replace(_NO_DATA, name=named.cls.name), named.cls, instance, task)
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
        return Data(config, named.cls, instance, task)

    def _task(self, data: Node, adapter: type[DataSet]) -> str:
        """What is asked of the data set; empty where it does not offer what is written."""
        node = data.children.get("task")
        asked = adapter.task(node.value if node is not None and isinstance(node.value, str) else "")
        if asked in adapter.tasks:
            return asked
        assert node is not None
        self._problems.add(
            node, f"{adapter.name} offers no task {asked!r}{did_you_mean(asked, adapter.tasks)}"
        )
        return ""

    def named(self, candidate: Candidate) -> Named | None:
        """The class of an arm."""
        from fusion_bench.contract import FusionModule, VisionLanguageNetwork

        key = (candidate.kind, candidate.name.place.folder, str(candidate.name.value))
        if key not in self._classes:
            module = candidate.kind == "module"
            self._classes[key] = (
                named_class(self._catalogue.modules, FusionModule, candidate.name, self._problems)
                if module
                else named_class(
                    self._catalogue.networks, VisionLanguageNetwork, candidate.name, self._problems
                )
            )
        return self._classes[key]

    def resolve(self, candidate: Candidate, data: Data, *, trial: bool = True) -> Resolved | None:
        """Decide everything about an arm.

        Args:
            candidate: the arm as written.
            data: the study's data set.
            trial: whether to construct the classes once.
        """
        fusion = self._config(FusionConfig, candidate)
        task = self._task_class(data)
        head = self._head(candidate, task)
        train = self._config(TrainConfig, candidate)
        backbone = self._backbone(candidate, data)
        text = self._text(candidate)
        named = self.named(candidate)
        arm = chosen(named, candidate.settings, OVERRIDABLE, self._problems) if named else None
        if text is None or arm is None or fusion is None or head is None or train is None:
            return None
        if candidate.kind == "network":
            fusion = FusionConfig(coordinates=fusion.coordinates)
        language_dim = self._language_dim(text, candidate)
        if trial and language_dim and not self._tried(candidate, arm, fusion, language_dim):
            return None
        config = CellConfig(
            data=data.config,
            backbone=backbone,
            text=text.component,
            fusion=fusion,
            arm=arm.component,
            kind=candidate.kind,
            head=head,
            train=train,
            seed=0,
            threads=self._threads(),
        )
        return Resolved(candidate, config, arm, text, language_dim, () if task is None else task.heads)

    def _threads(self) -> int:
        node = self._tree.children.get("threads")
        return node.value if node is not None and isinstance(node.value, int) else 1

    def _section(self, name: str, candidate: Candidate) -> Node:
        written = self._tree.children.get(name)
        if written is None or written.value is None:
            written = Node({}, (written or self._tree).place, name)
        return merged(written, candidate.sections.get(name)) or written

    def _config(self, kind: type[C], candidate: Candidate) -> C | None:
        """A section that is nothing but the fields of a dataclass of the same name."""
        name = kind.__name__.removesuffix("Config").lower()
        node = self._section(name, candidate)
        section = self._problems.section(SECTIONS[name], node)
        if section is None:
            # Noted; with the defaults instead, what else is wrong with the arm is found as well.
            return None if name in candidate.sections else kind()
        return kind(**{field.name: getattr(section, field.name) for field in fields(cast("Any", kind))})

    def _task_class(self, data: Data) -> type[Task] | None:
        from fusion_bench.registries import TASKS

        return TASKS.load(data.task) if data.task else None

    def _head(self, candidate: Candidate, task: type[Task] | None) -> HeadConfig | None:
        """The task's head; what it does not know is a mistake, and its first kind need not be named."""
        head = self._config(HeadConfig, candidate)
        if head is None or task is None:
            return head
        written = self._section("head", candidate).children
        for key, node in written.items():
            if key not in {"width", "kind", *task.head_settings}:
                self._problems.add(node, f"means nothing to the head of {task.name}; leave it out")
        if head.kind and head.kind not in task.heads:
            hint = did_you_mean(head.kind, task.heads)
            self._problems.add(written["kind"], f"{task.name} has no head {head.kind!r}{hint}")
        return replace(head, kind="") if head.kind == task.heads[0] else head

    def _backbone(self, candidate: Candidate, data: Data) -> BackboneConfig | None:
        node = self._section("backbone", candidate)
        if candidate.kind == "network":
            self._no_slot(candidate)
            return None
        if not node.children:
            what = "controls are modules too; add one or write controls: false"
            self._problems.add(
                node, f"is missing: {what if candidate.control else 'every module arm stands on one'}"
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

    def _has_pretext(self, data: Data) -> bool:
        """Whether the data set's own scenes were learnt from, or those of the study that this one starts from."""
        start = self._tree.children.get("start")
        begins = start is not None and start.value is not None
        return data.adapter.built_in or data.config.name == _Unknown.name or begins

    def _no_slot(self, candidate: Candidate) -> None:
        for key, node in candidate.sections.get("fusion", Node({}, self._tree.place)).children.items():
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

    def _text(self, candidate: Candidate) -> Chosen | None:
        from fusion_bench.contract import TextEncoder

        node = self._section("text", candidate)
        section = self._problems.section(TextSection, node)
        if section is None:
            return None
        encoder = node.children.get("encoder", Node(section.encoder, node.place, "text.encoder"))
        named = named_class(self._catalogue.text_encoders, TextEncoder, encoder, self._problems)
        if named is None:
            return None
        picked = chosen(named, node.without("encoder"), ("encoder",), self._problems)
        picked = picked and self._with_files(picked, node)
        # As in `_config`: with the defaults, where every setting has one, the other checks go on.
        without = "text" in candidate.sections or set(named.signature.names) - set(named.signature.defaults)
        return picked or (None if without else Chosen(named, {}, Component(named.target)))

    def _with_files(self, picked: Chosen, node: Node) -> Chosen | None:
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
            files[sha256], hashes[name] = path.resolve(), hashed(sha256)
        self.weight_files.update(files)
        component = replace(picked.component, settings={**picked.component.settings, **hashes})
        return replace(picked, component=component, files=files)

    def _language_dim(self, text: Chosen, candidate: Candidate) -> int:
        encoder = tried(text, self._section("text", candidate), self._problems, NOTHING_LEARNT)
        return 0 if encoder is None else int(encoder.language_dim)

    def _tried(self, candidate: Candidate, arm: Chosen, fusion: FusionConfig, language_dim: int) -> bool:
        if candidate.kind == "network":
            return tried(arm, candidate.where, self._problems, language_dim) is not None
        first = tried(arm, candidate.where, self._problems, fusion.width, language_dim)
        if first is None or fusion.depth == 1 or fusion.slot == "uniform" or first.out_dim == fusion.width:
            return first is not None
        return tried(arm, candidate.where, self._problems, first.out_dim, language_dim) is not None
