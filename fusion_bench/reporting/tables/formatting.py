"""The text of numbers in a report: shares in per cent, differences in points, a true minus sign."""

from __future__ import annotations

import numpy as np

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def percent(share: float) -> str:
    """Return a share in per cent: ``0.8123`` -> ``81.2``."""
    return DASH if np.isnan(share) else _decimal(100 * share, 1)


def percent_range(low: float, high: float) -> str:
    """Return an interval in per cent: ``81.2 to 83.0``; a dash if there is none."""
    return DASH if np.isnan(low) else f"{percent(low)} to {percent(high)}"


def points(difference: float, digits: int = 1) -> str:
    """Return a difference in points: ``-0.0123`` -> ``−1.2``; always with a sign, except zero."""
    if np.isnan(difference):
        return DASH
    shown = round(100 * difference, digits)
    return f"{0:.{digits}f}" if shown == 0 else f"{shown:+.{digits}f}".replace("-", MINUS)


def points_range(low: float, high: float) -> str:
    """Return an interval in points: ``−1.2 to +3.4``; a dash if there is none."""
    return DASH if np.isnan(low) else f"{points(low)} to {points(high)}"


def unsigned_points(difference: float) -> str:
    """Return the absolute value of a difference in points: ``-0.0123`` -> ``1.2``."""
    return DASH if np.isnan(difference) else f"{100 * abs(difference):.1f}"


def margin_text(margin: float) -> str:
    """Return a margin (a share) in points: ``2 points``, ``1 point``, ``0.5 points``."""
    size = f"{100 * margin:g}"
    return f"{size} point" if size == "1" else f"{size} points"


def signed_percent(distance: float | None) -> str:
    """Return a relative difference: ``-0.0123`` -> ``−1.2 %``; a dash for None."""
    return DASH if distance is None else f"{points(distance)} %"


def level_percent(share: float) -> str:
    """Return a level in per cent, without zeros at the end: ``0.0125`` -> ``1.25 %``, ``0.05 / 6`` -> ``0.83 %``."""
    return f"{round(100 * share, 2):g} %"


def p_value(p: float) -> str:
    """Return a p-value with three decimals; ``<0.001`` if it is smaller."""
    if np.isnan(p):
        return DASH
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def count(number: float | None) -> str:
    """Return a count with three digits: ``1180000`` -> ``1.18 M``."""
    if number is None or np.isnan(number):
        return DASH
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= 0.9995 * unit:
            return f"{number / unit:#.3g}".rstrip(".") + name
    return f"{number:.0f}"


def milliseconds(time: float | None) -> str:
    """Return a time in milliseconds with three digits."""
    return DASH if time is None or np.isnan(time) else f"{time:#.3g}".rstrip(".")


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 seed``, ``3 seeds``; ``1 class``, ``3 classes``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}es" if noun.endswith(("s", "x", "ch")) else f"{number} {noun}s"


def join_words(words: list[str]) -> str:
    """Return words as an enumeration: ``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _decimal(number: float, digits: int) -> str:
    return f"{number:.{digits}f}".replace("-", MINUS)
