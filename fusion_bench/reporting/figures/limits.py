"""Limits of an axis of estimates with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

_EDGE = 0.04
_SMALLEST = 0.02


def fitted_limits(table: pd.DataFrame, always: Sequence[float] = ()) -> tuple[float, float]:
    """Return limits that show every estimate, the values ``always``, and intervals of the usual width.

    An interval that is far wider than the others is cut, so that the others stay readable.

    Args:
        table: ``estimate, low, high``; an end may be NaN.
        always: further values that the axis shows.
    """
    shown = [*always, *table["estimate"]]
    span = (max(shown) - min(shown)) or _SMALLEST
    width = float((table["high"] - table["low"]).median())
    reach = span if np.isnan(width) else max(span, width)
    ends = [*shown, *table["low"].dropna(), *table["high"].dropna()]
    low, high = max(min(ends), min(shown) - reach), min(max(ends), max(shown) + reach)
    edge = _EDGE * (high - low) or _SMALLEST / 2
    return low - edge, high + edge
