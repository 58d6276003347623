"""The arms of a study: resolved, no two alike, with their roles and factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arm_specs import (
    ArmSpec,
    base_arm,
    controls,
    variations,
    varied_label,
    written_arms,
)
from fusion_bench.spec.arms import Arm, Role
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Node
from fusion_bench.spec.resolve import ResolvedArm, ResolvedData, Resolver
from fusion_bench.spec.signatures import same


class StudyArms:
    """Every arm of a study, in the file's order, the controls last."""

    def __init__(self, tree: Node, resolver: Resolver, data: ResolvedData, problems: Problems) -> None:
        self._tree, self._resolver, self._data, self._problems = tree, resolver, data, problems
        self._found: dict[str, ResolvedArm] = {}
        self._labels: list[str] = []
        self._settings: dict[str, None] | None = {}
        ways = [
            key for key in ("arms", "vary") if key in tree.children and tree.children[key].value is not None
        ]
        if ways == ["arms"]:
            self._written()
        elif ways == ["vary"]:
            self._varied()
        elif ways:
            problems.add(tree.children["vary"], "write either arms or vary")
        else:
            problems.add(tree, "nothing to compare: write arms or vary")
        for control in controls(tree):
            self._add(control)

    @property
    def resolved(self) -> tuple[ResolvedArm, ...]:
        """The arms that could be resolved."""
        return tuple(self._found.values())

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label but those of controls, of arms with mistakes too."""
        return tuple(self._labels)

    @property
    def settings(self) -> tuple[str, ...] | None:
        """Every setting that some arm's class takes; None if a class is not known."""
        return None if self._settings is None else tuple(self._settings)

    def reference(self) -> str:
        """The label of the reference: the first arm unless the study names another."""
        node = self._tree.children.get("reference")
        if node is None or node.value is None:
            return self._labels[0] if self._labels else ""
        if isinstance(node.value, str) and node.value not in self._labels:
            hint = did_you_mean(node.value, self._labels)
            self._problems.add(node, f"no arm is called {node.value!r}{hint}")
        return str(node.value)

    def arms(self, reference: str) -> tuple[Arm, ...]:
        """The arms as the rest of the harness knows them."""
        return tuple(_arm(arm, reference, self.resolved) for arm in self.resolved)

    def _written(self) -> None:
        specs = written_arms(self._tree, self._problems)
        self._labels = [spec.label for spec in specs]
        for spec in specs:
            self._add(spec)
        if not self._tree.children["arms"].children:
            self._problems.add(self._tree.children["arms"], "nothing to compare: write at least one arm")

    def _varied(self) -> None:
        base = base_arm(self._tree, self._problems)
        named = self._resolver.named(base) if base else None
        if base is None or named is None:
            return
        self._add(base)
        self._labels.append(base.label)
        start = next(iter(self._found.values()), None)
        for spec in variations(base, self._tree, named.signature.names, self._problems):
            resolved = self._resolver.resolve(spec, self._data)
            # A value equal to the base's, or a combination that stands alone already, gives no second arm.
            if resolved is None or start is None or resolved.config.id in self._found:
                continue
            values = {key: resolved.value(key) for key in spec.varied}
            label = varied_label({key: v for key, v in values.items() if not same(v, start.value(key))})
            self._labels.append(label)
            self._found[resolved.config.id] = replace(resolved, spec=replace(spec, label=label))

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
                f"the arm {spec.label!r} has the label of a control; rename it or drop one",
            )
        elif resolved is not None and resolved.config.id in self._found:
            twin = self._found[resolved.config.id].spec.label
            remedy = "leave it out of controls" if spec.control else "give it other settings or drop one"
            self._problems.add(spec.where, f"{spec.label!r} is the same as the arm {twin!r}; {remedy}")
        elif resolved is not None:
            self._found[resolved.config.id] = resolved


def _arm(arm: ResolvedArm, reference: str, arms: Sequence[ResolvedArm]) -> Arm:
    spec = arm.spec
    role: Role = "control" if spec.control else "reference" if spec.label == reference else "arm"
    varied = dict.fromkeys(key for other in arms for key in other.spec.varied)
    if varied and not spec.control:
        factors = {key: arm.value(key) for key in varied}
    else:
        factors = dict(arm.arm.written) | {
            key: arm.value(key)
            for section, node in spec.sections.items()
            for key in (f"{section}.{name}" for name in node.children)
        }
    return Arm(spec.label, role, str(spec.name.value), arm.config, factors)
