"""What a search may change in an arm: the module's own space, with what the study lays on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fusion_bench.spec.arm_specs import known_key
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.schema import OVERRIDABLE, RangeSection
from fusion_bench.spec.document.tree import Node
from fusion_bench.spec.resolve import ResolvedArm, ResolvedData, Resolver
from fusion_bench.spec.study_arms import StudyArms

if TYPE_CHECKING:
    from fusion_bench.contract import Space


def search_spaces(
    study_arms: StudyArms,
    tree: Node,
    data: ResolvedData,
    resolver: Resolver,
    problems: Problems,
    *,
    matched: bool,
) -> Mapping[str, Mapping[str, Space]]:
    """The space of each arm by label; an arm with nothing to search has an empty one.

    With ``search.declared: false`` it is ``search.space`` alone.

    A setting that the arm writes is pinned and leaves the module's own space, and so does the width that a
    ``matched`` budget chooses; a key under ``search.space`` is searched in every arm that takes it, pinned or
    not.
    """
    overrides = tree.children["search"].children.get("space", tree.having({})).children
    arms = study_arms.resolved
    varied = {key for arm in arms for key in arm.spec.varied}
    knobs = {arm.spec.label: arm.knob.argument for arm in arms if matched and arm.knob is not None}
    declared = tree.children["search"].children.get("declared")
    owning = declared is None or declared.value is not False
    spaces = {arm.spec.label: dict(_own(arm)) if owning else {} for arm in arms}
    for label, knob in knobs.items():
        spaces[label].pop(knob, None)
    for key, node in overrides.items():
        settings = (key,) if study_arms.settings is None else study_arms.settings
        if not known_key(key, node, settings, OVERRIDABLE, problems):
            continue
        if key in varied:
            problems.add(node, "is what vary varies, so it cannot be searched as well")
            continue
        if key in knobs.values():
            wide = ", ".join(label for label, knob in knobs.items() if knob == key)
            problems.add(node, f"is what budget.match chooses for {wide}, so it cannot be searched as well")
            continue
        if key == "fusion.slot":
            problems.add(node, "cannot be searched: a table never mixes slots; let vary vary it")
            continue
        for arm in arms:
            if _takes(arm, key):
                space = _space(arm, key, node, data, resolver, problems)
                if space is not None:
                    spaces[arm.spec.label][key] = space
    return spaces


def _takes(arm: ResolvedArm, key: str) -> bool:
    if arm.spec.kind == "network" and key.startswith("fusion."):
        return False
    return "." in key or key in arm.arm.named.signature.names


def _own(arm: ResolvedArm) -> Mapping[str, Space]:
    if arm.spec.kind == "network":
        return {}
    own = arm.arm.named.cls.search_space(arm.config.fusion.width, arm.language_dim)
    return {key: space for key, space in own.items() if key not in arm.arm.written}


def _space(
    arm: ResolvedArm, key: str, node: Node, data: ResolvedData, resolver: Resolver, problems: Problems
) -> Space | None:
    """A space as written, every bound and every value held to the arm's own types."""
    from fusion_bench.contract import Choice, Float, Int  # noqa: PLC0415 - imports torch

    def held(value: Node) -> ResolvedArm | None:
        return resolver.resolve(arm.spec.having(key, value), data, trial=False)

    if isinstance(node.value, list):
        values = [item.value for item in node.value if held(item) is not None]
        plain = [value for value in values if not isinstance(value, Mapping | list)]
        return Choice(tuple(plain)) if len(plain) == len(node.value) else None
    written = problems.section(RangeSection, node)
    low, high = (held(node.children[end]) if end in node.children else None for end in ("low", "high"))
    if written is None or low is None or high is None:
        return None
    ends = (low.value(key), high.value(key))
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
        problems.add(node, f"{key} takes no numbers; list its values instead")
        return None
    if all(isinstance(end, int) for end in ends):
        return Int(int(written.low), int(written.high), written.step or 1, written.log)
    if written.step is not None:
        problems.add(node.children["step"], "is only for whole numbers")
        return None
    return Float(float(written.low), float(written.high), written.log)
