"""Full factorial designs among arms: every combination of the levels of at least two settings is an arm."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

SettingLevels: TypeAlias = Mapping[str, str]
"""The level of each setting of an arm, as text."""

NOT_SET = "not set"
"""The level of a setting that an arm does not write: its default."""

_MOST_FACTORS = 6


@dataclass(frozen=True)
class FactorialDesign:
    """A full factorial among the arms of a study.

    Attributes:
        factors: the names of the settings that change, two or more.
        levels: the levels of each factor, two or more; the first is the one that others are compared with.
        arms: the label of the arm at each combination of levels, by their positions.
    """

    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    arms: Mapping[tuple[int, ...], str]

    def text(self) -> str:
        """Return ``kernel_size (3, 5) x dropout (0, 0.1)``."""
        parts = (
            f"{name} ({', '.join(levels)})" for name, levels in zip(self.factors, self.levels, strict=True)
        )
        return " x ".join(parts)


def full_factorial(settings: Mapping[str, SettingLevels], reference: str) -> FactorialDesign | None:
    """Return the full factorial of the most arms, at least 2 x 2, in which nothing else changes; None without one.

    Of designs of equally many arms, it is the one with the reference, else the one with the first arm.

    Args:
        settings: those of each arm, in the order of the study. An arm that does not name a setting has the level
            `NOT_SET`.
        reference: the label of the arm whose levels come first; it need not be in ``settings``.
    """
    order = [arm for arm in (reference, *settings) if arm in settings]
    names = changing_settings(settings)
    points = {arm: tuple(settings[arm].get(name, NOT_SET) for name in names) for arm in dict.fromkeys(order)}
    at: dict[tuple[str, ...], str] = {}
    for arm, point in points.items():
        at.setdefault(point, arm)  # of arms with equal settings, the first one
    best: dict[tuple[str, ...], str] = {}
    best_axes: Mapping[int, Sequence[str]] = {}
    for point in at:
        alone = _levels_alone(point, at)
        chosen = sorted(alone, key=lambda axis: (-len(alone[axis]), axis))[:_MOST_FACTORS]
        for count in range(2, len(chosen) + 1):
            for axes in itertools.combinations(sorted(chosen), count):
                levels = _filled(point, {axis: [point[axis], *alone[axis]] for axis in axes}, at)
                size = len([*_combinations(point, levels)]) if levels else 0
                if size > len(best):
                    best = {combined: at[combined] for combined in _combinations(point, levels)}
                    best_axes = levels
    if not best:
        return None
    changed = [*best_axes]
    arms = {tuple(best_axes[axis].index(point[axis]) for axis in changed): arm for point, arm in best.items()}
    return FactorialDesign(
        tuple(names[axis] for axis in changed), tuple(map(tuple, best_axes.values())), arms
    )


def changing_settings(settings: Mapping[str, SettingLevels]) -> tuple[str, ...]:
    """Return the names of the settings in which arms differ, in their order of appearance."""
    names = dict.fromkeys(name for own in settings.values() for name in own)
    return tuple(name for name in names if len({own.get(name, NOT_SET) for own in settings.values()}) > 1)


def settings_changed_alone(settings: Mapping[str, SettingLevels], reference: str) -> tuple[str, ...]:
    """Return the settings that some arm changes against the reference while it changes nothing else."""
    if reference not in settings:
        return ()
    names = changing_settings(settings)
    points = {arm: tuple(own.get(name, NOT_SET) for name in names) for arm, own in settings.items()}
    alone = _levels_alone(points[reference], {point: arm for arm, point in points.items()})
    return tuple(names[axis] for axis in sorted(alone))


def _levels_alone(point: tuple[str, ...], at: Mapping[tuple[str, ...], str]) -> dict[int, list[str]]:
    """Return the other levels that an arm has where it differs from ``point`` on one axis alone, by axis."""
    found: dict[int, list[str]] = {}
    for other in at:
        differing = [axis for axis, (one, two) in enumerate(zip(point, other, strict=True)) if one != two]
        if len(differing) == 1:
            found.setdefault(differing[0], []).append(other[differing[0]])
    return found


def _combinations(point: tuple[str, ...], levels: Mapping[int, Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Yield the point with every combination of the levels."""
    for values in itertools.product(*levels.values()):
        yield _changed(point, dict(zip(levels, values, strict=True)))


def _changed(point: tuple[str, ...], values: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(values.get(axis, value) for axis, value in enumerate(point))


def _filled(
    point: tuple[str, ...], levels: dict[int, list[str]], at: Mapping[tuple[str, ...], str]
) -> dict[int, list[str]]:
    """Return the levels that are left when those with the fewest arms have gone until every combination is an arm.

    Empty where an axis loses all levels but that of ``point``, which stays.
    """
    levels = _with_partners(point, levels, at)
    while levels:
        missing = [combined for combined in _combinations(point, levels) if combined not in at]
        if not missing:
            return levels
        combined_levels = math.prod(map(len, levels.values()))
        counts = Counter((axis, combined[axis]) for combined in missing for axis in levels)
        lacking = {
            (axis, value): counts[axis, value] / (combined_levels / len(values))
            for axis, values in levels.items()
            for value in values[1:]
        }
        levels = _without(levels, {max(lacking, key=lambda key: lacking[key])})
    return {}


def _with_partners(
    point: tuple[str, ...], levels: dict[int, list[str]], at: Mapping[tuple[str, ...], str]
) -> dict[int, list[str]]:
    """Return the levels that can be in a design: each is an arm together with some other level of every other axis.

    This leaves nothing of settings that are changed one at a time, whose combinations would be too many to look at.
    """
    while levels:
        alone = {
            (axis, value)
            for axis, values in levels.items()
            for value in values[1:]
            for other, others in levels.items()
            if other != axis
            and not any(_changed(point, {axis: value, other: level}) in at for level in others[1:])
        }
        if not alone:
            break
        levels = _without(levels, alone)
    return levels


def _without(levels: Mapping[int, Sequence[str]], gone: set[tuple[int, str]]) -> dict[int, list[str]]:
    """Return the levels but those that are gone; empty where an axis loses all but its first one."""
    kept = {
        axis: [values[0], *(value for value in values[1:] if (axis, value) not in gone)]
        for axis, values in levels.items()
    }
    return kept if all(len(values) > 1 for values in kept.values()) else {}
