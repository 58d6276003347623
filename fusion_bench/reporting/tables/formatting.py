"""How numbers and names are written: shares as per cent, differences as points, one true minus sign."""

from __future__ import annotations

import re

import numpy as np

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
_MARKS = re.compile(r"([\\`*_<>|\[\]#~])")


def percent(share: float) -> str:
    """``0.8123`` -> ``81.2``."""
    return DASH if np.isnan(share) else _signless(100 * share, 1)


def percent_range(low: float, high: float) -> str:
    """``81.2 to 83.0``, or a dash where there is no interval."""
    return DASH if np.isnan(low) else f"{percent(low)} to {percent(high)}"


def points(difference: float, digits: int = 1) -> str:
    """``-0.0123`` -> ``−1.2``; always signed, zero apart."""
    if np.isnan(difference):
        return DASH
    shown = round(100 * difference, digits)
    return f"{0:.{digits}f}" if shown == 0 else f"{shown:+.{digits}f}".replace("-", MINUS)


def points_range(low: float, high: float) -> str:
    """``−1.2 to +3.4``, or a dash where there is no interval."""
    return DASH if np.isnan(low) else f"{points(low)} to {points(high)}"


def size(difference: float) -> str:
    """A difference without a sign, in points: ``0.0123`` -> ``1.2``."""
    return DASH if np.isnan(difference) else f"{100 * abs(difference):.1f}"


def relative(distance: float | None) -> str:
    """A share more or less: ``-0.0123`` -> ``−1.2 %``."""
    return DASH if distance is None else f"{points(distance)} %"


def p_value(p: float) -> str:
    """Three decimals; ``<0.001`` below that."""
    if np.isnan(p):
        return DASH
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def count(number: float | None) -> str:
    """``1180000`` -> ``1.18 M``: three digits."""
    if number is None or np.isnan(number):
        return DASH
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= 0.9995 * unit:
            return f"{number / unit:#.3g}".rstrip(".") + name
    return f"{number:.0f}"


def milliseconds(time: float | None) -> str:
    """Three digits."""
    return DASH if time is None or np.isnan(time) else f"{time:#.3g}".rstrip(".")


def plural(number: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``; ``1 class``, ``3 classes``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}es" if noun.endswith(("s", "x", "ch")) else f"{number} {noun}s"


def code(name: str) -> str:
    """A label as Markdown code, safe in a table."""
    fence = "``" if "`" in name else "`"
    padded = f" {name} " if "`" in name else name
    return f"{fence}{padded}{fence}".replace("|", "\\|")


def escape(text: str) -> str:
    """Free text that Markdown shows as it is, on one line."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def listing(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _signless(number: float, digits: int) -> str:
    return f"{number:.{digits}f}".replace("-", MINUS)
