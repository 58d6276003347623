"""Optuna's distributions of parameters: its tools draw numbers on axes of numbers, and ranges on their scale."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from fusion_bench.contract import Choice, Float, Int, Space


def distributions_of(
    parameters: Sequence[Mapping[str, Any]], spaces: Mapping[str, Space] | None = None
) -> dict[str, BaseDistribution]:
    """Return the distribution of each parameter.

    Numbers get a range: that of the space they were drawn from, or else from the smallest to the largest value. Other
    values are categories.

    Args:
        parameters: the parameters of every trial; a value that is None where others are numbers is no value.
        spaces: the spaces of those that a search draws.
    """
    spaces = spaces or {}
    values: dict[str, list[Any]] = {}
    for factors in parameters:
        for name, value in factors.items():
            known = values.setdefault(name, [])
            if plain_value(value) not in known:
                known.append(plain_value(value))
    return {name: _distribution(known, spaces.get(name)) for name, known in values.items()}


def parameters_of(
    factors: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """Return the parameters of a trial as Optuna takes them; a number that is not set is left out."""
    plain = {name: plain_value(value) for name, value in factors.items()}
    return {
        name: value
        for name, value in plain.items()
        if value is not None or isinstance(distributions[name], CategoricalDistribution)
    }


def plain_value(value: Any) -> Any:
    """Return a value of a kind that Optuna takes; others are written as text."""
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def merged_spaces(spaces: Iterable[Mapping[str, Space]]) -> dict[str, Space]:
    """Return one space for each key that several arms search: the widest of their ranges."""
    merged: dict[str, Space] = {}
    for name, space in (item for arm in spaces for item in arm.items()):
        earlier = merged.setdefault(name, space)
        if isinstance(earlier, Float) and isinstance(space, Float):
            ends = min(earlier.low, space.low), max(earlier.high, space.high)
            merged[name] = Float(*ends, log=earlier.log and space.log)
        elif isinstance(earlier, Int) and isinstance(space, Int):
            whole = min(earlier.low, space.low), max(earlier.high, space.high)
            merged[name] = Int(*whole, log=earlier.log and space.log)
    return merged


def _distribution(values: Sequence[Any], space: Space | None) -> BaseDistribution:
    if isinstance(space, Choice):
        values = [*values, *(value for value in space.values if value not in values)]
    numbers = [value for value in values if value is not None]
    if not numbers or not all(map(_is_number, numbers)):
        return CategoricalDistribution(values)
    log, step = _evenly_spaced_logs(numbers), 1
    if isinstance(space, Float | Int):
        numbers, log = [*numbers, space.low, space.high], space.log
    low, high = min(numbers), max(numbers)
    log = log and low > 0
    if not all(isinstance(number, int) for number in numbers):
        return FloatDistribution(float(low), float(high), log=log)
    if isinstance(space, Int) and not log and all((n - low) % space.step == 0 for n in numbers):
        step = space.step
    return IntDistribution(int(low), int(high), log=log, step=step)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _evenly_spaced_logs(numbers: Sequence[float]) -> bool:
    """Return True for three or more positive numbers that are spaced more evenly on a logarithmic scale."""
    ordered = sorted({*numbers})
    if len(ordered) < 3 or ordered[0] <= 0:
        return False
    pairs = list(itertools.pairwise(ordered))
    ratios = [math.log(after / before) for before, after in pairs]
    steps = [after - before for before, after in pairs]
    return max(ratios) / min(ratios) < max(steps) / min(steps)
