"""Collects the arms of a study: resolved, all different, with their roles and factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arm_specs import (
    ArmSpec,
    base_arm,
    control_arms,
    varied_arms,
    varied_label,
    written_arms,
)
from fusion_bench.spec.arms import Arm, Role
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.sections import UNVARIED
from fusion_bench.spec.document.tree import Node
from fusion_bench.spec.resolve import ResolvedArm, Resolver
from fusion_bench.spec.resolve_data import ResolvedData
from fusion_bench.spec.signatures import equal_values


class StudyArms:
    """The arms of a study, in the order of the file, the controls last.

    Args:
        tree: the study.
        resolver: resolves each arm.
        data: the study's data set.
        problems: collects the mistakes.
    """

    def __init__(self, tree: Node, resolver: Resolver, data: ResolvedData, problems: Problems) -> None:
        self._tree, self._resolver, self._data, self._problems = tree, resolver, data, problems
        self._by_id: dict[str, ResolvedArm] = {}
        self._labels: list[str] = []
        self._settings: dict[str, None] | None = {}
        keys = [
            key for key in ("arms", "vary") if key in tree.children and tree.children[key].value is not None
        ]
        if keys == ["arms"]:
            self._add_written_arms()
        elif keys == ["vary"]:
            self._add_variations()
        elif keys:
            problems.add(tree.children["vary"], "cannot be written together with arms; leave one of them out")
        else:
            problems.add(tree, "there is nothing to compare; write arms or vary")
        for control in control_arms(tree):
            self._add(control)

    @property
    def resolved(self) -> tuple[ResolvedArm, ...]:
        """The arms that could be resolved."""
        return tuple(self._by_id.values())

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all arms except controls, also of arms with mistakes."""
        return tuple(self._labels)

    @property
    def settings(self) -> tuple[str, ...] | None:
        """The names of the settings that the classes of the arms take; None if a class is not known."""
        return None if self._settings is None else tuple(self._settings)

    def reference(self) -> str:
        """Return the label of the reference: the first arm unless the study names another."""
        node = self._tree.children.get("reference")
        if node is None or node.value is None:
            return self._labels[0] if self._labels else ""
        if isinstance(node.value, str) and self._labels and node.value not in self._labels:
            hint = did_you_mean(node.value, self._labels)
            self._problems.add(node, f"there is no arm {node.value!r}{hint}")
        return str(node.value)

    def arms(self, reference: str) -> tuple[Arm, ...]:
        """Return the arms with their roles and factors."""
        return tuple(_arm(arm, reference, self.resolved) for arm in self.resolved)

    def _add_written_arms(self) -> None:
        specs = written_arms(self._tree, self._problems)
        self._labels = list(self._tree.children["arms"].children)
        for spec in specs:
            self._add(spec)
        if not self._tree.children["arms"].children:
            self._problems.add(
                self._tree.children["arms"], "there is nothing to compare; write at least one arm"
            )

    def _add_variations(self) -> None:
        base = base_arm(self._tree, self._problems)
        named = self._resolver.named(base) if base else None
        if base is None or named is None:
            return
        self._add(base)
        self._labels.append(base.label)
        resolved_base = next(iter(self._by_id.values()), None)
        for spec in varied_arms(base, self._tree, named.signature.names, self._problems):
            resolved = self._resolver.resolve(spec, self._data)
            # A value that equals the base's, or a combination that exists already, gives no second arm.
            if resolved is None or resolved_base is None or resolved.config.id in self._by_id:
                continue
            values = {key: resolved.value(key) for key in spec.varied}
            changed = {key: v for key, v in values.items() if not equal_values(v, resolved_base.value(key))}
            label = varied_label(changed)
            self._labels.append(label)
            self._by_id[resolved.config.id] = replace(resolved, spec=replace(spec, label=label))

    def _add(self, spec: ArmSpec) -> None:
        named = self._resolver.named(spec)
        if named is None or self._settings is None:
            self._settings = None
        else:
            self._settings.update(dict.fromkeys(named.signature.names))
        resolved = self._resolver.resolve(spec, self._data)
        if spec.control and spec.label in self._labels:
            self._problems.add(
                spec.where,
                f"the arm {spec.label!r} has the label of this control; rename the arm, or leave the control out",
            )
        elif resolved is not None and resolved.config.id in self._by_id:
            twin = self._by_id[resolved.config.id].spec.label
            remedy = (
                "leave it out of controls"
                if spec.control
                else "change its settings, or leave one of them out"
            )
            self._problems.add(spec.where, f"{spec.label!r} is the same as the arm {twin!r}; {remedy}")
        elif resolved is not None:
            self._by_id[resolved.config.id] = resolved


def _arm(arm: ResolvedArm, reference: str, arms: Sequence[ResolvedArm]) -> Arm:
    spec = arm.spec
    role: Role = "control" if spec.control else "reference" if spec.label == reference else "arm"
    varied = dict.fromkeys(key for other in arms for key in other.spec.varied)
    if varied and not spec.control:
        names = tuple(varied)
    else:
        keys = [f"{section}.{name}" for section, node in spec.sections.items() for name in node.children]
        keys = [key for key in keys if key not in UNVARIED]
        names = (*arm.arm.written, *keys)
    return Arm(spec.label, role, str(spec.name.value), arm.config, names)
