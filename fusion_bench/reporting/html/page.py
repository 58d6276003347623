"""The report as one HTML file that needs no network: tables, charts and the sample browser.

Everything from outside is escaped where it is written. A policy in the page allows its own style and script by their
hashes, pictures inside the file, and nothing else: a text that slips through still cannot run or load anything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from fusion_bench.reporting.html.intervals import forest_plot, slice_plots
from fusion_bench.reporting.html.sample_data import sample_data
from fusion_bench.reporting.html.self_contained import page_environment, style_and_script
from fusion_bench.reporting.html.trends import cost_plots, curve_plots
from fusion_bench.reporting.tables.answer_rows import AnswerRow, answer_rows
from fusion_bench.reporting.tables.formatting import DASH, count, milliseconds, p_value, percent, points
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.storage import write_text

PAGE = "report.html"
_TEMPLATES = "fusion_bench.reporting.html"


def write_page(results: StudyResults, tables: Tables, content: Mapping[str, Any], folder: Path) -> None:
    """Write ``report.html``.

    Args:
        results: the study.
        tables: its numbers.
        content: the parts of the Markdown report, by name.
        folder: the folder of the report.
    """
    write_text(folder / PAGE, page(results, tables, content))


def page(results: StudyResults, tables: Tables, content: Mapping[str, Any]) -> str:
    """Return the text of ``report.html``; the arguments are those of `write_page`."""
    rows = arm_rows(results, tables)
    return (
        page_environment(_TEMPLATES)
        .get_template("report.html.jinja")
        .render(
            **content,
            **style_and_script(),
            rows=rows,
            verdicts=sorted({row["verdict"] for row in rows}),
            metric=f"{results.primary_split} {results.primary}",
            forest=Markup(forest_plot(results, tables)),  # noqa: S704 - texts are escaped in `svg`
            costs=_charts(cost_plots(results, tables)),
            curves=_charts(curve_plots(results, tables)),
            slice_charts=_charts(slice_plots(results, tables)),
            samples=Markup(_json(sample_data(results, tables))),  # noqa: S704 - `_json` leaves no "<"
            browsed=len(results.browsed),
        )
    )


def arm_rows(results: StudyResults, tables: Tables) -> list[dict[str, Any]]:
    """Return the rows of the table of arms and controls, the best first: texts, and numbers to sort by.

    ``arm``, ``role`` and ``verdict`` are texts. ``place``, ``mean``, ``difference``, ``p``, ``ties``, ``seeds``,
    ``converged``, ``parameters``, ``multiply_adds`` and ``latency`` are pairs: what is shown, and a number or text to
    sort by.
    """
    summaries = {arm.label: arm for arm in results.arms}
    rows = [_arm_row(row, summaries[row.arm]) for row in answer_rows(results, tables)]
    differences = {row["arm"]: row for row in records(tables.comparisons)}
    for mean in records(results.on_primary(tables.means)):
        if mean["role"] == "control":
            rows.append(_row(summaries[mean["arm"]], mean, differences.get(mean["arm"]), "control"))
    return rows


def _arm_row(row: AnswerRow, arm: ArmSummary) -> dict[str, Any]:
    difference = row.difference
    verdict = "reference" if row.role == "reference" else "not compared"
    if difference is not None:
        verdict = difference["verdict"] or "not ranked"
    found = _row(arm, row.mean, difference, verdict)
    return found | {
        "place": (DASH if row.place is None else str(row.place), _key(row.place)),
        "ties": (row.letters or DASH, row.letters),
        "converged": ({True: "yes", False: "no", None: "unknown"}[row.converged], str(row.converged)),
    }


def _row(arm: ArmSummary, mean: Row, difference: Row | None, verdict: str) -> dict[str, Any]:
    return {
        "arm": arm.label,
        "role": arm.role,
        "verdict": "open" if verdict == "underpowered" else verdict,
        "place": (DASH, ""),
        "mean": _with_interval(mean, percent),
        "difference": (DASH, "") if difference is None else _with_interval(difference, points),
        "p": (DASH, _key(None))
        if difference is None
        else (p_value(difference["p_holm"]), _key(difference["p_holm"])),
        "ties": (DASH, ""),
        "seeds": (str(int(mean["seeds"])), int(mean["seeds"])),
        "converged": (DASH, ""),
        "parameters": (count(arm.fusion_parameters), _key(arm.fusion_parameters)),
        "multiply_adds": (count(arm.fusion_multiply_adds), _key(arm.fusion_multiply_adds)),
        "latency": (milliseconds(arm.latency_ms), _key(arm.latency_ms)),
    }


def _with_interval(row: Row, write: Callable[[float], str]) -> tuple[str, float | str]:
    if math.isnan(row["low"]):
        return write(row["estimate"]), _key(row["estimate"])
    ends = f"{write(row['low'])} to {write(row['high'])}"
    return f"{write(row['estimate'])} ({ends})", _key(row["estimate"])


def _key(number: float | None) -> float | str:
    """Return a number to sort by; empty, which sorts last, for none."""
    return "" if number is None or math.isnan(number) else float(number)


def _charts(charts: list[tuple[str, str]]) -> list[tuple[str, Markup]]:
    return [(name, Markup(drawn)) for name, drawn in charts]  # noqa: S704 - texts are escaped in `svg`


def _json(value: object) -> str:
    """Return JSON that no text in it can end the element of."""
    written = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
