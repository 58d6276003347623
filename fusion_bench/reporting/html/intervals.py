"""Charts of intervals, one row per arm: paired differences from the reference, and the slices of the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_bench.reporting.html.svg import Scale, chart, element, shortened, text, title, widened
from fusion_bench.reporting.tables.formatting import percent, percent_range, points, points_range
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import StudyResults

_LEFT, _RIGHT, _WIDTH = 190.0, 210.0, 860.0
_ROW, _TOP, _BOTTOM = 20.0, 8.0, 34.0
_LEFTWARD = "\N{BLACK LEFT-POINTING SMALL TRIANGLE}"
_RIGHTWARD = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"


def forest_plot(results: StudyResults, tables: Tables) -> str:
    """Return the difference of each arm and control from the reference with its interval; empty without one."""
    rows = [row for row in records(tables.comparisons) if not np.isnan(row["estimate"])]
    if not rows:
        return ""
    arms = [row for row in rows if row["role"] != "control"] or rows
    low, high = widened([0.0, *_ends(arms)])
    scale = Scale(low, high, _LEFT, _WIDTH - _RIGHT)
    margin = results.margin
    parts = [_margin_band(scale, margin, len(rows))] if margin is not None else []
    parts += _axis(scale, len(rows), [(tick, points(tick)) for tick in scale.ticks(8)])
    parts.append(_line(scale(0.0), len(rows), "zero"))
    for number, row in enumerate(rows):
        said = f"{points(row['estimate'])} ({points_range(row['low'], row['high'])})"
        parts.append(_row(scale, number, row, said, _kind(row)))
    name = f"Paired differences from {results.reference} in points, with 95 % intervals"
    return chart(_WIDTH, _height(len(rows)), parts, label=name)


def slice_plots(results: StudyResults, tables: Tables) -> list[tuple[str, str]]:
    """Return for each slice its name and a chart: one row per value and arm, without controls."""
    rows = [row for row in records(tables.slices) if row["role"] != "control"]
    charts = []
    for name in dict.fromkeys(row["slice"] for row in rows):
        own = [row for row in rows if row["slice"] == name]
        low, high = widened(_ends(own))
        scale = Scale(max(low, 0.0), min(high, 1.0), _LEFT, _WIDTH - _RIGHT)
        values = list(dict.fromkeys(row["value"] for row in own))
        lines: list[Row] = []
        for value in values:
            group = [row for row in own if row["value"] == value]
            lines.append({"heading": f"{value} ({group[0]['samples']} samples)"})
            lines += group
        parts = _axis(scale, len(lines), [(tick, f"{100 * tick:g}") for tick in scale.ticks(8)])
        for number, row in enumerate(lines):
            if "heading" in row:
                parts.append(text(shortened(row["heading"], 60), 4.0, _middle(number) + 4, class_="heading"))
                continue
            said = f"{percent(row['estimate'])} % ({percent_range(row['low'], row['high'])})"
            kind = "reference" if row["arm"] == results.reference else "open"
            parts.append(_row(scale, number, row, said, kind))
        label = f"{results.primary_split} {results.primary} in per cent by {name}, with 95 % intervals"
        charts.append((name, chart(_WIDTH, _height(len(lines)), parts, label=label)))
    return charts


def _kind(row: Row) -> str:
    if row["role"] == "control":
        return "control"
    return str(row["verdict"]) if row["verdict"] in {"better", "worse", "equivalent"} else "open"


def _row(scale: Scale, number: int, row: Row, said: str, kind: str) -> str:
    """Return one row: the label, the interval, the estimate as a shape that differs by verdict, and the numbers."""
    y = _middle(number)
    parts = [title(f"{row['arm']}: {said}"), text(shortened(row["arm"]), _LEFT - 8, y + 4, class_="label")]
    if not np.isnan(row["low"]):
        ends = [min(max(scale(row[end]), scale.start), scale.end) for end in ("low", "high")]
        parts.append(element("line", x1=ends[0], x2=ends[1], y1=y, y2=y, class_="interval"))
    x = scale(row["estimate"])
    if scale.start <= x <= scale.end:
        parts.append(_mark(kind, x, y))
    else:  # the axis is fitted to the arms; a control may lie beyond it
        beyond = scale.start if x < scale.start else scale.end
        arrow = _LEFTWARD if x < scale.start else _RIGHTWARD
        parts.append(text(arrow, beyond, y + 4, class_="arrow", text_anchor="middle"))
    parts.append(text(said, _WIDTH - _RIGHT + 10, y + 4, class_="numbers"))
    return element("g", "".join(parts), class_=f"arm {kind}", data_arm=row["arm"])


def _mark(kind: str, x: float, y: float) -> str:
    """Return a filled triangle (better up, worse down), a square (equivalent), a diamond or a circle."""
    shapes = {
        "better": f"M{x:.1f} {y - 6:.1f}l6 10h-12z",
        "worse": f"M{x:.1f} {y + 6:.1f}l6 -10h-12z",
        "equivalent": f"M{x - 5:.1f} {y - 5:.1f}h10v10h-10z",
        "reference": f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z",
    }
    if kind in shapes:
        return element("path", d=shapes[kind], class_="mark")
    return element("circle", cx=x, cy=y, r=5, class_="mark")


def _margin_band(scale: Scale, margin: float, rows: int) -> str:
    left, right = max(scale(-margin), scale.start), min(scale(margin), scale.end)
    return element("rect", x=left, y=_TOP, width=max(right - left, 0.0), height=_ROW * rows, class_="margin")


def _axis(scale: Scale, rows: int, ticks: Sequence[tuple[float, str]]) -> list[str]:
    parts = [_line(scale(value), rows, "grid") for value, _ in ticks]
    bottom = _TOP + _ROW * rows + 16
    return parts + [
        text(said, scale(value), bottom, class_="tick", text_anchor="middle") for value, said in ticks
    ]


def _line(x: float, rows: int, kind: str) -> str:
    return element("line", x1=x, x2=x, y1=_TOP, y2=_TOP + _ROW * rows, class_=kind)


def _ends(rows: Sequence[Row]) -> list[float]:
    values = [float(row[name]) for row in rows for name in ("low", "estimate", "high")]
    return [value for value in values if not np.isnan(value)]


def _middle(number: int) -> float:
    return _TOP + _ROW * (number + 0.5)


def _height(rows: int) -> float:
    return _TOP + _ROW * rows + _BOTTOM
