"""The values that a search may try in each arm: the module's declared space and the study's additions to it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from fusion_bench.errors import FusionBenchError
from fusion_bench.foreign import message_of
from fusion_bench.spec.arm_specs import check_key
from fusion_bench.spec.arms import with_settings
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.search_section import RangeSection
from fusion_bench.spec.document.sections import OVERRIDABLE
from fusion_bench.spec.document.tree import Node, Scalar
from fusion_bench.spec.resolve import ResolvedArm, Resolver
from fusion_bench.spec.resolve_data import ResolvedData
from fusion_bench.spec.signatures import equal_values
from fusion_bench.spec.study import Search
from fusion_bench.spec.study_arms import StudyArms
from fusion_bench.training.config import Json

if TYPE_CHECKING:
    from fusion_bench.contract import Space

MOST_GP_TRIALS = 100
"""With more, a Gaussian process takes longer to draw a trial than many a cell takes to train."""
_SMALLEST_BATCH = 3


def search_spaces(
    study_arms: StudyArms,
    tree: Node,
    data: ResolvedData,
    resolver: Resolver,
    problems: Problems,
    *,
    matched: bool,
) -> Mapping[str, Mapping[str, Space]]:
    """Return the search space of each arm by label; it is empty for an arm with nothing to search.

    A space holds the space that the module declares (unless ``search.declared`` is false) and the keys under
    ``search.space``. The declared space loses the settings that the arm writes and the width that a matched budget
    chooses. A key under ``search.space`` is searched in every arm that takes it, also where the arm writes it.

    Args:
        study_arms: the arms of the study.
        tree: the study.
        data: the study's data set.
        resolver: resolves an arm with a value of the space, to check the value.
        problems: collects the mistakes.
        matched: True if the study matches a budget.
    """
    overrides = tree.children["search"].children.get("space", tree.having({})).children
    arms = study_arms.resolved
    varied = {key for arm in arms for key in arm.spec.varied}
    widths = {
        arm.spec.label: arm.free_width.argument for arm in arms if matched and arm.free_width is not None
    }
    declared = tree.children["search"].children.get("declared")
    use_declared = declared is None or declared.value is not False
    spaces = {arm.spec.label: dict(_declared_space(arm, problems)) if use_declared else {} for arm in arms}
    for label, width in widths.items():
        spaces[label].pop(width, None)
    for key, node in overrides.items():
        settings = (key,) if study_arms.settings is None else study_arms.settings
        if not check_key(key, node, settings, OVERRIDABLE, problems):
            continue
        if key in varied:
            problems.add(node, "is varied under vary, so it cannot be searched too; leave it out here")
            continue
        if key in widths.values():
            labels = ", ".join(label for label, width in widths.items() if width == key)
            problems.add(
                node,
                f"is chosen by budget.match for {labels}, so it cannot be searched too; leave it out here",
            )
            continue
        if key == "fusion.slot":
            problems.add(
                node, "cannot be searched, because a table never mixes slots; write it under vary instead"
            )
            continue
        for arm in arms:
            if _accepts(arm, key):
                space = _space(arm, key, node, data, resolver, problems)
                if space is not None:
                    spaces[arm.spec.label][key] = space
    return spaces


def _accepts(arm: ResolvedArm, key: str) -> bool:
    if arm.spec.kind == "network" and key.startswith("fusion."):
        return False
    return "." in key or key in arm.arm.named.signature.names


def _declared_space(arm: ResolvedArm, problems: Problems) -> Mapping[str, Space]:
    """Return the space that the arm's module declares; empty after a mistake in it."""
    if arm.spec.kind == "network":
        return {}
    cls = arm.arm.named.cls
    try:
        declared = cls.search_space(arm.config.fusion.width, arm.language_dim)
        kept = {key: space for key, space in declared.items() if key not in arm.arm.written}
        return {key: _validated_space(arm, key, space) for key, space in kept.items()}
    except (Exception, SystemExit) as error:  # the code of a module may raise any exception
        problems.add(
            arm.spec.where,
            f"the search space that {cls.__name__} declares cannot be used: {message_of(error)}; "
            "correct it, or write search: {declared: false}",
        )
        return {}


def _validated_space(arm: ResolvedArm, key: str, space: Space) -> Space:
    """Return a declared space with its values as the module's constructor reads them.

    Raises:
        FusionBenchError: the constructor does not take the setting or a value, or a range is empty.
    """
    from fusion_bench.contract import Choice, Float, Int  # noqa: PLC0415 - imports torch

    def read(value: Json) -> Json:
        settings = with_settings(arm.config, {key: value}).arm.settings
        return settings.get(key, arm.arm.named.signature.defaults.get(key))

    if not isinstance(space, Choice | Float | Int):
        raise FusionBenchError(
            f"{key} is {space!r}, which is none of the spaces of fusion_bench.contract (Float, Int or Choice)"
        )
    if isinstance(space, Choice):
        return Choice(tuple(cast("Scalar", read(value)) for value in space.values))
    if not (math.isfinite(space.low) and math.isfinite(space.high) and space.low <= space.high):
        raise FusionBenchError(f"{key} has no values between {space.low} and {space.high}")
    if space.log and space.low <= 0:
        raise FusionBenchError(f"{key} is logarithmic and begins at {space.low}")
    read(space.low)
    read(space.high)
    return space


def _space(
    arm: ResolvedArm, key: str, node: Node, data: ResolvedData, resolver: Resolver, problems: Problems
) -> Space | None:
    """Return a space as written, checked against the types of the arm's settings; None after a mistake."""
    from fusion_bench.contract import Choice, Float, Int  # noqa: PLC0415 - imports torch

    def with_value(value: Node) -> ResolvedArm | None:
        return resolver.resolve(arm.spec.with_value(key, value), data, construct=False)

    if isinstance(node.value, list):
        if any(isinstance(item.value, Mapping | list) for item in node.value):
            return None  # the schema records this mistake
        arms = [with_value(item) for item in node.value]
        values = [None if found is None else found.value(key) for found in arms]
        if None in arms:
            return None  # the resolver recorded the mistake
        for number, value in enumerate(values):
            if any(equal_values(value, earlier) for earlier in values[:number]):
                problems.add(node.value[number], f"names {json.dumps(value)} once more; leave it out")
                return None
        return Choice(tuple(cast("list[Scalar]", values)))
    written = problems.validate_section(RangeSection, node)
    low, high = (with_value(node.children[end]) if end in node.children else None for end in ("low", "high"))
    if written is None or low is None or high is None:
        return None
    ends = (low.value(key), high.value(key))
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
        problems.add(node, f"{key} takes no numbers; write a list of values instead")
        return None
    if all(isinstance(end, int) for end in ends):
        return Int(int(written.low), int(written.high), written.step or 1, written.log)
    if written.step is not None:
        problems.add(node.children["step"], "is for whole numbers only; leave it out")
        return None
    return Float(float(written.low), float(written.high), written.log)


def combinations(space: Mapping[str, Space], most: int) -> list[dict[str, Json]]:
    """Return every combination of a space of lists; none if there are more than ``most`` or a range."""
    from fusion_bench.contract import Choice  # noqa: PLC0415 - imports torch

    lists = [item.values for item in space.values() if isinstance(item, Choice)]
    if not space or len(lists) < len(space) or math.prod(map(len, lists)) > most:
        return []
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]


def check_search(search: Search, study_arms: StudyArms, node: Node, problems: Problems) -> None:
    """Record what the sampler or the pruner of a search cannot do with its spaces, trials and epochs.

    Args:
        search: the search as read.
        study_arms: the arms of the study.
        node: the section ``search``.
        problems: collects the mistakes.
    """
    sampler, pruner = (node.children.get(key, node) for key in ("sampler", "pruner"))
    if search.sampler == "gp" and search.trials > MOST_GP_TRIALS:
        problems.add(
            sampler,
            f"gp draws at most {MOST_GP_TRIALS} trials, and there are {search.trials}; write fewer, or tpe here",
        )
    if search.sampler == "cmaes":
        for label, space in search.spaces.items():
            if problem := _not_for_cmaes(space, search.trials):
                problems.add(sampler, f"cmaes draws two or more ranges of numbers; {label} {problem}")
                break
    if search.pruner is None:
        return
    if search.sampler in {"gp", "cmaes"}:
        problems.add(
            pruner, f"{search.sampler} learns nothing from pruned trials; write sampler: tpe, random or qmc"
        )
    if min(search.batch, search.trials) < _SMALLEST_BATCH:
        problems.add(
            pruner,
            f"one trial in {_SMALLEST_BATCH} of each batch is trained longer; write {_SMALLEST_BATCH} or more for "
            "batch and trials",
        )
    for arm in study_arms.resolved:
        space = search.spaces.get(arm.spec.label, {})
        if fixed := [key for key in ("train.epochs", "train.batch_size") if key in space]:
            problems.add(
                node.children.get("space", node).children.get(fixed[0], node),
                "cannot be searched with a pruner, which gives every arm the same training steps; leave one out",
            )
        elif space and arm.config.train.epochs < 2:
            problems.add(
                pruner, f"{arm.spec.label} has train.epochs: {arm.config.train.epochs}; write 2 or more"
            )


def _not_for_cmaes(space: Mapping[str, Space], trials: int) -> str:
    """Return why CMA-ES cannot draw the trials of a space; empty if it can, or if nothing is drawn."""
    from fusion_bench.contract import Choice  # noqa: PLC0415 - imports torch

    lists = [key for key, item in space.items() if isinstance(item, Choice)]
    if not space or combinations(space, trials):
        return ""
    if lists:
        return (
            f"searches {', '.join(lists)} over a list of values; write tpe here, or leave the list out (declared: "
            "false leaves out what modules declare)"
        )
    ranges = [key for key, item in space.items() if item.low < item.high]  # type: ignore[union-attr]
    return "" if len(ranges) > 1 else f"searches {', '.join(ranges) or 'none'} alone; write tpe here"
