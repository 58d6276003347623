"""Small parts of SVG charts: elements whose texts are escaped, scales, and ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LABEL_LETTERS = 26
"""The number of letters of an arm's label that a chart has room for."""


def element(name: str, content: str = "", /, **attributes: object) -> str:
    """Return an SVG element.

    Args:
        name: its name.
        content: markup inside it.
        attributes: their values are escaped. A trailing underscore of a name is dropped, others become hyphens. An
            attribute whose value is None is left out.
    """
    parts = [
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    return f"<{name}{''.join(parts)}>{content}</{name}>"


def text(content: str, x: float, y: float, **attributes: object) -> str:
    """Return a text; its content is escaped."""
    return element("text", escape(content), x=x, y=y, **attributes)


def title(content: str) -> str:
    """Return the name of an element for a pointer that rests on it and for a screen reader."""
    return element("title", escape(content))


def shortened(label: str, letters: int = LABEL_LETTERS) -> str:
    """Return a label, cut to so many letters."""
    return label if len(label) <= letters else f"{label[: letters - 1]}\N{HORIZONTAL ELLIPSIS}"


def chart(width: float, height: float, content: Sequence[str], *, label: str) -> str:
    """Return a chart of this size in pixels; ``label`` is what a screen reader says of it."""
    return element(
        "svg",
        title(label) + "".join(content),
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        class_="chart",
    )


@dataclass(frozen=True)
class Scale:
    """A map from values to pixels.

    Attributes:
        low, high: the values at its ends.
        start, end: the pixels there.
        logarithmic: whether equal ratios of values are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, at = (math.log(x) if self.logarithmic else x for x in (self.low, self.high, value))
        share = 0.5 if high == low else (at - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Return at most about so many round values in the range."""
        if self.high <= self.low:
            return [self.low]
        if self.logarithmic:
            return _decades(self.low, self.high)
        step = _step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def widened(values: Sequence[float], share: float = 0.05) -> tuple[float, float]:
    """Return the range of some values, made wider by a share of it at either end."""
    low, high = min(values), max(values)
    room = share * (high - low) or 0.01
    return low - room, high + room


def _step(rough: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _decades(low: float, high: float) -> list[float]:
    factors = (1, 2, 5) if high / low < 300 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [
        factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high
    ]


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
