"""The arms that a study file asks for: those under ``arms``, the variations of ``vary``, and the controls."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from fusion_bench.registry import did_you_mean
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.schema import CONTROLS, KNOWN_CONTROLS
from fusion_bench.spec.document.sections import OPEN, OVERRIDABLE, SECTIONS, UNVARIED, VARIABLE
from fusion_bench.spec.document.tree import Node, merge_nodes
from fusion_bench.training.config import Json

BASE = "base"
MAX_VARIATIONS = 500
ArmKind: TypeAlias = Literal["module", "network"]
ARM_KINDS: tuple[ArmKind, ...] = ("module", "network")


@dataclass(frozen=True)
class ArmSpec:
    """An arm as it is written, before its settings are checked against its class.

    Attributes:
        label: the arm's name in the study.
        kind: the kind of the class that ``name`` names.
        name: the node that names the class.
        settings: the settings of the class, a mapping.
        sections: the sections of the study that the arm overrides (``train``, ``fusion``, ...), by name.
        where: the node that a mistake in the arm as a whole is recorded at.
        varied: the keys that this arm sets, if it is a variation of ``vary``.
        control: True for a control.
    """

    label: str
    kind: ArmKind
    name: Node
    settings: Node
    sections: Mapping[str, Node]
    where: Node
    varied: tuple[str, ...] = ()
    control: bool = False

    def with_value(self, key: str, value: Node) -> ArmSpec:
        """Return the arm with one more setting (``kernel_size``) or study key (``fusion.depth``)."""
        section, dot, name = key.partition(".")
        if not dot:
            return replace(self, settings=self.settings.having({**self.settings.children, key: value}))
        override = Node({name: value}, value.location, section)
        merged = merge_nodes(self.sections.get(section), override)
        assert merged is not None  # noqa: S101 - override is a node
        return replace(self, sections={**self.sections, section: merged})


def written_arms(tree: Node, problems: Problems) -> list[ArmSpec]:
    """Return the arms under ``arms``.

    A null that drops an inherited arm is gone from the tree by now; any other null is a mistake.
    """
    found = []
    for label, node in tree.children.get("arms", tree.having({})).children.items():
        if node.value is None:
            problems.add(
                node,
                "says nothing; write what the arm is, for example {module: film}, or leave it out (null drops an arm "
                "of an extended file, and no extended file has this one)",
            )
            continue
        if not label.strip() or "/" in label or not label.isprintable():
            problems.add(node, "a label must be one line of text without '/'")
        if arm := _arm(label, node, problems):
            found.append(arm)
    return found


def base_arm(tree: Node, problems: Problems) -> ArmSpec | None:
    """Return the arm under ``vary.base``; None after a mistake."""
    node = tree.children["vary"].children.get("base") if "vary" in tree.children else None
    return None if node is None else _arm(BASE, node, problems)


def control_arms(tree: Node) -> list[ArmSpec]:
    """Return the controls of the study."""
    node = tree.children.get("controls", Node(True, tree.location, "controls"))
    listed = (
        [item for item in node.value if item.value in KNOWN_CONTROLS] if isinstance(node.value, list) else []
    )
    if node.value is True:
        listed = [Node(name, node.location, node.path) for name in CONTROLS]
    return [
        ArmSpec(str(item.value), "module", item, item.having({}), {}, item, control=True) for item in listed
    ]


def _arm(label: str, node: Node, problems: Problems) -> ArmSpec | None:
    kinds: list[ArmKind] = [kind for kind in ARM_KINDS if _is_set(node, kind)]
    if not isinstance(node.value, Mapping):
        return None  # the schema records this mistake
    if len(kinds) != 1:
        problems.add(node, "must name a class; write either module: or network:")
        return None
    name = node.children[kinds[0]]
    if not isinstance(name.value, str):
        return None  # the schema records this mistake
    sections = {key: node.children[key] for key in OVERRIDABLE if _is_set(node, key)}
    return ArmSpec(label, kinds[0], name, node.without(*ARM_KINDS, *OVERRIDABLE), sections, node)


def _is_set(node: Node, key: str) -> bool:
    return key in node.children and node.children[key].value is not None


def varied_arms(base: ArmSpec, tree: Node, settings: tuple[str, ...], problems: Problems) -> list[ArmSpec]:
    """Return the variations of the base arm that ``vary`` lists, without the base arm itself.

    Args:
        base: the arm that is varied.
        tree: the study.
        settings: names of the settings that the class of the base arm takes.
        problems: collects the mistakes.
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
    for combination in itertools.islice(combinations, MAX_VARIATIONS + 1):
        arm = replace(base, where=combination[0][1], varied=tuple(key for key, _ in combination))
        for key, value in combination:
            arm = arm.with_value(key, value)
        found.append(arm)
    if len(found) > MAX_VARIATIONS:
        problems.add(vary, f"gives more than {MAX_VARIATIONS} arms; list fewer values")
        return []
    return found


def _axes(node: Node | None, settings: tuple[str, ...], problems: Problems) -> dict[str, list[Node]]:
    axes: dict[str, list[Node]] = {}
    for key, values in (node.children if node else {}).items():
        if check_key(key, values, settings, VARIABLE, problems) and isinstance(values.value, list):
            axes[key] = values.value
    return axes


def check_key(
    key: str, node: Node, settings: tuple[str, ...], sections: tuple[str, ...], problems: Problems
) -> bool:
    """Return whether a key is known: a setting, or a key of one of the study's sections; record a mistake if not.

    Args:
        key: the key, such as ``kernel_size`` or ``fusion.depth``.
        node: the node that a mistake is recorded at.
        settings: names of the known settings.
        sections: names of the sections that may be used here.
        problems: collects the mistakes.
    """
    section, dot, name = key.partition(".")
    if dot and section in sections:
        fields = SECTIONS[section].model_fields
        if name not in fields and section not in OPEN:
            problems.add(node, f"unknown key{did_you_mean(name, fields)}")
            return False
        if key in UNVARIED:
            problems.add(node, f"changes no result, so it cannot vary; write it under {section} instead")
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
    """Return the label of a variation, such as ``kernel_size=5, head.pool=max``."""
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
    )
