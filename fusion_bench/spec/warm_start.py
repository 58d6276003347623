"""The study whose trained cells another study's cells start from: arm for arm, seed for seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_bench.errors import StudyFileError
from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Node
from fusion_bench.training.config import CellConfig

if TYPE_CHECKING:
    from fusion_bench.spec.study import Study

_MODEL = ("backbone", "text", "fusion", "arm", "kind", "head")
"""What must be equal for weights to fit."""


def read_source_study(tree: Node, load: Callable[[Path], Study], problems: Problems) -> Study | None:
    """The study named under ``start``, if there is one; notes what is wrong with it.

    Args:
        tree: of the study file.
        load: reads another study file.
        problems: the collector.
    """
    start = tree.children.get("start")
    node = None if start is None else start.children.get("study")
    if node is None or not isinstance(node.value, str):
        _check_epochs(tree, problems)
        return None
    path = node.place.folder / Path(node.value).expanduser()
    if node.place.file is not None and path.resolve() == node.place.file.resolve():
        problems.add(node, "a study cannot start from itself")
        return None
    if "search" in tree.children and tree.children["search"].value is not None:
        problems.add(tree.children["search"], "a study that starts from another has no search of its own")
    try:
        source = load(path)
    except StudyFileError as error:
        problems.add(node, f"cannot be read: {error}")
        return None
    if source.search is not None:
        problems.add(
            node, f"{source.name!r} has a search; write what it found into a study, and start from that"
        )
        return None
    return source


def arms_with_start(
    arms: Sequence[Arm], seeds: Sequence[int], source: Study, start: Node, problems: Problems
) -> tuple[Arm, ...]:
    """The arms, each starting from the arm of the same label of ``source``; notes those that cannot."""
    node = start.children["study"]
    if missing := sorted({*seeds} - {*source.seeds}):
        named = ", ".join(map(str, missing))
        problems.add(
            node, f"{source.name!r} has no seed {named}; its seeds are {', '.join(map(str, source.seeds))}"
        )
    theirs = {arm.label: arm.config for arm in source.arms}
    for arm in arms:
        if arm.label not in theirs:
            problems.add(node, f"{source.name!r} has no arm {arm.label!r}{did_you_mean(arm.label, theirs)}")
        elif other := _unlike(arm.config, theirs[arm.label]):
            problems.add(
                node,
                f"the arm {arm.label!r} of {source.name!r} differs in {', '.join(other)}; its weights do not fit",
            )
    if problems:
        return tuple(arms)
    return tuple(replace(arm, config=replace(arm.config, start=theirs[arm.label])) for arm in arms)


def _unlike(one: CellConfig, other: CellConfig) -> list[str]:
    return [part for part in _MODEL if getattr(one, part) != getattr(other, part)]


def _check_epochs(tree: Node, problems: Problems) -> None:
    """Nothing can be judged that was never trained."""
    arms = tree.children.get("arms", tree.having({})).children.values()
    for place in (tree, *arms):
        epochs = place.children.get("train", tree.having({})).children.get("epochs")
        if epochs is not None and epochs.value == 0 and not isinstance(epochs.value, bool):
            problems.add(epochs, "must be at least 1, not 0, unless the study has a start")
