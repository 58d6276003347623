"""The rule that gives a cell a process of its own: its module is not part of this project.

A module may replace functions of torch or keep values between forward passes, and nothing can undo that. A module
from a file or from another package therefore never shares a process with another cell.
"""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, distribution

from fusion_bench.registry import Target
from fusion_bench.training.config import CellConfig

_DISTRIBUTION = "laconv-fusion-bench"
_GROUPS = "fusion_bench."


def needs_own_process(config: CellConfig) -> bool:
    """Return True if the fusion module, the network or the text encoder of a cell is not part of this project."""
    return is_foreign(config.arm.target) or is_foreign(config.text.target)


def is_foreign(target: Target) -> bool:
    """Return True for a class from a file given by path, or from a package that this project does not bring."""
    return target.source is not None or _top_package(target.reference) not in _own_packages()


@functools.cache
def _own_packages() -> frozenset[str]:
    """Return the packages of this project: the harness, and those that it offers through its entry points."""
    try:
        points = distribution(_DISTRIBUTION).entry_points
    except PackageNotFoundError:  # it runs from a checkout, without being installed
        return frozenset({"fusion_bench"})
    offered = {_top_package(point.value) for point in points if point.group.startswith(_GROUPS)}
    return frozenset({"fusion_bench", *offered})


def _top_package(reference: str) -> str:
    return reference.partition(":")[0].partition(".")[0]
