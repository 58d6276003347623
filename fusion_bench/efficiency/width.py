"""The width whose cost is nearest to a target, found with few trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from fusion_bench.contract import Width

_MAX_WIDTH = 2**20
_MAX_GAP = 64
"""After this number of refused steps in a row, a module is taken to accept no larger width."""
_GROWTH = 8
"""A trial is at most this many times as wide as the widest before it: a module of any width must be constructed."""


def solve_width(
    cost: Callable[[int], int | None], target: int, widths: Width, breaks: Iterable[int] = ()
) -> int | None:
    """Return the width whose cost is nearest to ``target``, the smaller of two equals; None if none is accepted.

    The cost is bracketed by larger and larger widths, then the bracket is narrowed. The next width is where the
    parabola through the three nearest costs meets the target: the cost of most modules is a polynomial of the second
    degree in their width. Each third step halves the bracket, whatever the cost does.

    Args:
        cost: the cost of a width, which rises with the width; None where the module refuses the width.
        target: the cost to come near to.
        widths: the possible widths: multiples of its ``step``, from its ``minimum`` on.
        breaks: widths at which the cost may fall, because a layer is not needed there; they are tried in any case.
    """
    costs: dict[int, int] = {}  # the cost of each accepted width; widths are counted in steps
    first, last = -(-widths.minimum // widths.step), _MAX_WIDTH // widths.step

    def accepted(start: int, end: int) -> int | None:
        """Return the first accepted width in ``[start, end)``; None if there is none."""
        for steps in range(max(start, first), min(end, start + _MAX_GAP, last + 1)):
            if steps in costs:
                return steps
            if (found := cost(steps * widths.step)) is not None:
                costs[steps] = found
                return steps
        return None

    def predicted(smallest: int, largest: int) -> int:
        return max(smallest, min(largest, _meeting(costs, target)))

    def nearest() -> int:
        return min(costs, key=lambda steps: (abs(costs[steps] - target), steps))

    low = accepted(first, last)
    if low is None:
        return None
    high = low
    while costs[low] < target and high == low:  # grow until the cost reaches the target or no width is left
        start = predicted(2 * low, _GROWTH * low)
        wider = accepted(start, last + 1)
        if wider is not None and costs[wider] < target:
            low = high = wider
        else:
            high = start
    trials = 0
    while high - low > 1:
        trials += 1
        middle = (low + high) // 2 if trials % 3 == 0 else predicted(low + 1, high - 1)
        found = accepted(middle, high)
        if found is not None and costs[found] < target:
            low = found
        else:
            high = middle
    for width in breaks:
        if width % widths.step == 0:
            accepted(width // widths.step, width // widths.step + 1)
    best = None
    while best != nearest():  # a neighbour may be nearer where the cost does not rise with every step
        best = nearest()
        accepted(best - 1, best)
        accepted(best + 1, best + 2)
    return best * widths.step


def _meeting(costs: Mapping[int, int], target: int) -> int:
    """Return where the parabola through the three costs nearest to the target meets it, rounded down.

    It is a line through two costs; 0 if there is one cost, or if the curve does not rise to the target.
    """
    points = sorted(costs.items(), key=lambda point: abs(point[1] - target))[:3]
    if len(points) == 1:
        return 0
    (x0, c0), (x1, c1) = points[:2]
    slope, curvature = (c1 - c0) / (x1 - x0), 0.0
    if len(points) == 3:
        x2, c2 = points[2]
        curvature = ((c2 - c1) / (x2 - x1) - slope) / (x2 - x0)
    rise = slope - curvature * (x1 - x0)  # the derivative at x0
    discriminant = rise**2 + 4 * curvature * (target - c0)
    if rise <= 0 or discriminant < 0:
        return 0
    return math.floor(x0 + 2 * (target - c0) / (rise + math.sqrt(discriminant)))
