"""The table for a paper: as LaTeX with booktabs, and the same rows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from fusion_bench.reporting.paper.bibliography import references_of_arm
from fusion_bench.reporting.paper.caption import table_caption
from fusion_bench.reporting.paper.latex_text import latex, latex_number
from fusion_bench.reporting.paper.rows import PaperRow
from fusion_bench.reporting.tables.formatting import DASH, MINUS
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults

_MARKS = {
    "better": r"\textsuperscript{\dag}",
    "worse": r"\textsuperscript{\dag}",
    "equivalent": r"\textsuperscript{\ddag}",
}
_NOT_CONVERGED = r"\textsuperscript{n}"


def csv_table(rows: Sequence[PaperRow]) -> str:
    """Return the rows as CSV: numbers as in the report, with a plain minus sign; empty where there is none."""
    written = io.StringIO()
    names = [name for name in asdict(rows[0]) if name != "is_best"]
    table = csv.DictWriter(written, names, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for row in rows:
        plain = {
            name: text if name in {"arm", "role"} else "" if text == DASH else text.replace(MINUS, "-")
            for name, text in asdict(row).items()
            if name != "is_best"
        }
        table.writerow(plain)
    return written.getvalue()


def latex_table(results: StudyResults, tables: Tables, rows: Sequence[PaperRow]) -> str:
    """Return a ``table`` environment, which needs the package booktabs and no other.

    The best arm is bold, a dagger marks a difference that is decided, a double dagger an equivalent arm.
    """
    shown = [name for name, heading in _headings(results).items() if _has(rows, name)]
    headings = [_headings(results)[name] for name in shown]
    keys = {arm.label: [reference.key for reference in references_of_arm(arm)] for arm in results.arms}
    lines = [
        r"\begin{table}[!htbp]",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{table_caption(results, tables, rows)}}}",
        r"\label{tab:fusion-bench}",
        r"\medskip",
        rf"\begin{{tabular}}{{@{{}}l{'r' * (len(shown) - 1)}@{{}}}}",
        r"\toprule",
        " & ".join(headings) + r" \\",
        r"\midrule",
    ]
    arms = [row for row in rows if row.role != "control"]
    controls = [row for row in rows if row.role == "control"]
    lines += [_line(row, shown, keys) for row in arms]
    if arms and controls:
        lines.append(r"\midrule")
    lines += [_line(row, shown, keys) for row in controls]
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _headings(results: StudyResults) -> Mapping[str, str]:
    return {
        "arm": "Arm",
        "mean": latex(f"{results.primary_split} {results.primary}") + r", \%",
        "difference": r"$\Delta$, points",
        "p": r"$p_{\mathrm{Holm}}$",
        "ties": "Ties",
        "parameters": "Params",
        "multiply_adds": "MACs",
        "latency": "ms",
    }


def _has(rows: Sequence[PaperRow], name: str) -> bool:
    return any(getattr(row, name) != DASH for row in rows)


def _line(row: PaperRow, shown: Sequence[str], keys: Mapping[str, Sequence[str]]) -> str:
    return " & ".join(_cell(row, name, keys[row.arm]) for name in shown) + r" \\"


def _cell(row: PaperRow, name: str, keys: Sequence[str]) -> str:
    if name == "arm":
        cited = rf"~\cite{{{','.join(keys)}}}" if keys else ""
        mark = _NOT_CONVERGED if row.converged == "no" else ""
        return _bold(latex(row.arm), row) + mark + cited
    if name == "mean":
        return _bold(latex_number(row.mean), row) + _interval(row.mean_low, row.mean_high)
    if name == "difference":
        shown = latex_number(row.difference) + _interval(row.difference_low, row.difference_high)
        return shown + _MARKS.get(row.verdict, "")
    if name == "ties":
        return latex(row.ties)
    return latex_number(getattr(row, name))


def _bold(text: str, row: PaperRow) -> str:
    return rf"\textbf{{\boldmath {text}}}" if row.is_best else text


def _interval(low: str, high: str) -> str:
    if low == DASH:
        return ""
    return rf" {{\scriptsize ({latex_number(low)} to {latex_number(high)})}}"
