"""The places of labels that stand in one column beside a chart."""

from __future__ import annotations

from collections.abc import Sequence


def places_apart(wanted: Sequence[float], gap: float, start: float, end: float) -> list[float]:
    """Return ascending places, moved by as little as keeps them ``gap`` apart and between ``start`` and ``end``.

    Args:
        wanted: where the labels would stand, ascending.
        gap: the smallest distance of two neighbours.
        start: the first place that is possible.
        end: the last one; more labels than fit go beyond it.
    """
    moved: list[float] = []
    for number, place in enumerate(wanted):
        lowest = moved[-1] + gap if moved else start
        moved.append(max(lowest, min(place, end - gap * (len(wanted) - 1 - number))))
    return moved
