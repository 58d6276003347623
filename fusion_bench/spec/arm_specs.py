"""Which arms a study asks for: written out under ``arms``, spanned by ``vary``, and the controls."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from fusion_bench.registry import did_you_mean
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.schema import CONTROLS, KNOWN_CONTROLS, OPEN, OVERRIDABLE, SECTIONS, VARIABLE
from fusion_bench.spec.document.tree import Node, merged
from fusion_bench.training.config import Json

BASE = "base"
MOST_ARMS = 500
ArmKind: TypeAlias = Literal["module", "network"]
ARM_KINDS: tuple[ArmKind, ...] = ("module", "network")


@dataclass(frozen=True)
class ArmSpec:
    """An arm as written, not yet held to any class.

    Attributes:
        label: its name in the study.
        kind: whether ``name`` is a module or a network.
        name: the node that names the class.
        settings: the class's settings, a mapping.
        sections: parts of the study that it overrides (``train``, ``fusion``, ...).
        where: what an error about the arm as a whole points at.
        varied: for an arm of ``vary``: the keys that this arm sets.
        control: True for a control that rides along.
    """

    label: str
    kind: ArmKind
    name: Node
    settings: Node
    sections: Mapping[str, Node]
    where: Node
    varied: tuple[str, ...] = ()
    control: bool = False

    def having(self, key: str, value: Node) -> ArmSpec:
        """The same arm with one more setting (``kernel_size``) or study key (``fusion.depth``)."""
        section, dot, name = key.partition(".")
        if not dot:
            return replace(self, settings=self.settings.having({**self.settings.children, key: value}))
        over = Node({name: value}, value.place, section)
        both = merged(self.sections.get(section), over)
        assert both is not None  # noqa: S101 - over is a node
        return replace(self, sections={**self.sections, section: both})


def written_arms(tree: Node, problems: Problems) -> list[ArmSpec]:
    """The arms under ``arms``; a null arm is one that this file drops from the file it extends."""
    found = []
    for label, node in tree.children.get("arms", tree.having({})).children.items():
        if node.value is None:
            continue
        if not label.strip() or "/" in label or not label.isprintable():
            problems.add(node, "a label is one line of text without '/'")
        if arm := _arm(label, node, problems):
            found.append(arm)
    return found


def base_arm(tree: Node, problems: Problems) -> ArmSpec | None:
    """The arm that ``vary`` starts from."""
    node = tree.children["vary"].children.get("base") if "vary" in tree.children else None
    return None if node is None else _arm(BASE, node, problems)


def controls(tree: Node) -> list[ArmSpec]:
    """The controls that ride along."""
    node = tree.children.get("controls", Node(True, tree.place, "controls"))
    listed = (
        [item for item in node.value if item.value in KNOWN_CONTROLS] if isinstance(node.value, list) else []
    )
    if node.value is True:
        listed = [Node(name, node.place, node.path) for name in CONTROLS]
    return [
        ArmSpec(str(item.value), "module", item, item.having({}), {}, item, control=True) for item in listed
    ]


def _arm(label: str, node: Node, problems: Problems) -> ArmSpec | None:
    kinds: list[ArmKind] = [kind for kind in ARM_KINDS if _given(node, kind)]
    if not isinstance(node.value, Mapping):
        return None  # the schema says so
    if len(kinds) != 1:
        problems.add(node, "write what it is: one of module: and network:")
        return None
    name = node.children[kinds[0]]
    if not isinstance(name.value, str):
        return None  # the schema says so
    sections = {key: node.children[key] for key in OVERRIDABLE if _given(node, key)}
    return ArmSpec(label, kinds[0], name, node.without(*ARM_KINDS, *OVERRIDABLE), sections, node)


def _given(node: Node, key: str) -> bool:
    return key in node.children and node.children[key].value is not None


def variations(base: ArmSpec, tree: Node, settings: tuple[str, ...], problems: Problems) -> list[ArmSpec]:
    """The arms that ``vary`` spans around its base, the base itself left out.

    Args:
        base: the arm to vary.
        tree: the study.
        settings: names of the base's own settings.
        problems: the collector.
    """
    vary = tree.children["vary"]
    alone = _axes(vary.children.get("one_at_a_time"), settings, problems)
    grid = _axes(vary.children.get("grid"), settings, problems)
    combinations: Iterator[tuple[tuple[str, Node], ...]] = itertools.chain(
        (((key, value),) for key, values in alone.items() for value in values),
        itertools.product(*([(key, value) for value in values] for key, values in grid.items()))
        if grid
        else (),
    )
    found = []
    for combination in itertools.islice(combinations, MOST_ARMS + 1):
        arm = replace(base, where=combination[0][1], varied=tuple(key for key, _ in combination))
        for key, value in combination:
            arm = arm.having(key, value)
        found.append(arm)
    if len(found) > MOST_ARMS:
        problems.add(vary, f"spans more than {MOST_ARMS} arms")
        return []
    return found


def _axes(node: Node | None, settings: tuple[str, ...], problems: Problems) -> dict[str, list[Node]]:
    axes: dict[str, list[Node]] = {}
    for key, values in (node.children if node else {}).items():
        if known_key(key, values, settings, VARIABLE, problems) and isinstance(values.value, list):
            axes[key] = values.value
    return axes


def known_key(
    key: str, node: Node, settings: tuple[str, ...], sections: tuple[str, ...], problems: Problems
) -> bool:
    """Whether a key is a setting of the class or lies in one of the study's ``sections``; notes it if not."""
    section, dot, name = key.partition(".")
    if dot and section in sections:
        fields = SECTIONS[section].model_fields
        if name not in fields and section not in OPEN:
            problems.add(node, f"unknown key{did_you_mean(name, fields)}")
            return False
        return True
    if dot:
        problems.add(node, f"{section!r} cannot vary between arms; write {', '.join(sections)} or a setting")
        return False
    if key not in settings:
        hint = did_you_mean(key, [*settings, *(f"{name}." for name in sections)])
        problems.add(node, f"unknown key{hint}")
        return False
    return True


def varied_label(values: Mapping[str, Json]) -> str:
    """``kernel_size=5, head.pool=max``."""
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
    )
