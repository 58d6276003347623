"""Starts the cells of a study from the trained cells of another study with the same arm label and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_bench.errors import StudyFileError
from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.document.files import real_path
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Node, written_path
from fusion_bench.training.config import CellConfig

if TYPE_CHECKING:
    from fusion_bench.spec.study import Study

_MODEL = ("backbone", "text", "fusion", "arm", "kind", "head")
"""The fields of `CellConfig` that must be equal for the weights to fit."""


def read_source_study(tree: Node, load: Callable[[Path], Study], problems: Problems) -> Study | None:
    """Return the study under ``start``; None without one or after a mistake.

    Args:
        tree: the study.
        load: reads another study file.
        problems: collects the mistakes.
    """
    start = tree.children.get("start")
    node = None if start is None else start.children.get("study")
    if node is None or not isinstance(node.value, str):
        _check_epochs(tree, problems)
        return None
    path = written_path(node)
    if node.location.file is not None and real_path(path) == real_path(node.location.file):
        problems.add(node, "a study cannot start from itself; name another study file")
        return None
    if "search" in tree.children and tree.children["search"].value is not None:
        problems.add(
            tree.children["search"], "a study with a start cannot have a search; leave one of them out"
        )
    try:
        source = load(path)
    except StudyFileError as error:
        problems.add(node, f"cannot be read: {error}")
        return None
    if source.search is not None:
        problems.add(
            node,
            f"{source.name!r} has a search; write the settings that it found into another study, and start from that",
        )
        return None
    return source


def arms_with_start(
    arms: Sequence[Arm], seeds: Mapping[str, Sequence[int]], source: Study, start: Node, problems: Problems
) -> tuple[Arm, ...]:
    """Return the arms, each starting from the arm of ``source`` with the same label.

    Args:
        arms: the arms of the study.
        seeds: the seeds of each arm, by label.
        source: the study to start from.
        start: the node of the study's ``start`` section.
        problems: collects the mistakes: missing seeds, missing arms, and models that differ.
    """
    node = start.children["study"]
    source_configs = {arm.label: arm.config for arm in source.arms}
    own = {label: source.seeds[:count] for label, count in source.seed_counts.items()}
    lacking: dict[tuple[str, str], list[str]] = {}
    for arm in arms:
        there = own.get(arm.label, source.seeds)
        if missing := sorted({*seeds[arm.label]} - {*there}):
            key = ", ".join(map(str, missing)), ", ".join(map(str, there))
            lacking.setdefault(key, []).append(arm.label)
    for (named, others), labels in lacking.items():
        of = "" if source.arm_seeds is None else f" of {', '.join(map(repr, labels))}"
        problems.add(node, f"{source.name!r} has no seed {named}{of}; its seeds are {others}")
    for arm in arms:
        if arm.label not in source_configs:
            problems.add(
                node, f"{source.name!r} has no arm {arm.label!r}{did_you_mean(arm.label, source_configs)}"
            )
        elif parts := _differing_parts(arm.config, source_configs[arm.label]):
            problems.add(
                node,
                f"the arm {arm.label!r} of {source.name!r} differs in {', '.join(parts)}, so its weights do not fit",
            )
    if problems:
        return tuple(arms)
    return tuple(replace(arm, config=replace(arm.config, start=source_configs[arm.label])) for arm in arms)


def _differing_parts(one: CellConfig, other: CellConfig) -> list[str]:
    return [part for part in _MODEL if getattr(one, part) != getattr(other, part)]


def _check_epochs(tree: Node, problems: Problems) -> None:
    """Record a mistake for 0 epochs, which need trained weights to start from."""
    arms = tree.children.get("arms", tree.having({})).children.values()
    for node in (tree, *arms):
        epochs = node.children.get("train", tree.having({})).children.get("epochs")
        if (
            epochs is not None and type(epochs.value) is int and epochs.value == 0
        ):  # the schema refuses 0.0 and false
            problems.add(epochs, "must be at least 1, not 0, unless the study has a start")
