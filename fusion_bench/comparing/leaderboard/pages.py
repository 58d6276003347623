"""The index of the reports in a folder as ``README.md`` and as one HTML file in the style of a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from fusion_bench.comparing.leaderboard.board import BoardRow, ReportBoard
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.html.self_contained import page_environment, style_and_script
from fusion_bench.reporting.report.markdown import markdown_table
from fusion_bench.reporting.tables.formatting import DASH, plural
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.storage import write_text

README, INDEX = "README.md", "index.html"
_MARK = "<!-- Written by `fusion-bench leaderboard`; do not edit. -->"
_COLUMNS = ("mean", "difference", "seeds", "ties", "verdict")


def write_board(board: ReportBoard, folder: Path) -> list[Path]:
    """Write ``README.md`` and ``index.html`` into the folder of the reports and return their paths.

    Raises:
        FusionBenchError: one of them is there and was not written by this function.
    """
    files = {folder / README: board_markdown(board, folder), folder / INDEX: board_page(board, folder)}
    for file in files:
        if file.is_dir() or (
            file.exists() and _MARK not in file.read_text(encoding="utf-8", errors="replace")
        ):
            raise FusionBenchError(
                f"{file} is there and was not written by `fusion-bench leaderboard`; move it away, and run this again"
            )
    for file, text in files.items():
        write_text(file, text)
    return list(files)


def board_markdown(board: ReportBoard, folder: Path) -> str:
    """Return the index as Markdown."""
    lines = [
        f"- [{escape(report.name)}]({_markdown_link(report.link)}), {escape(report.title)}: {report.found}"
        for report in board.reports
    ]
    parts = [f"# {_title(folder)}", _MARK, "\n".join(lines), "## Arms", _NOTE, _table(board)]
    parts += ["## Surroundings", "\n".join(_surroundings(board))]
    if board.unread:
        parts += ["## Not listed", "\n".join(_unread(board))]
    return "\n\n".join(parts) + "\n"


_NOTE = (
    "One row per arm, data set and surroundings, with the numbers of its report and 95 % intervals. Verdicts are "
    "about the reference of the report; two arms of one report share a letter unless they are shown to differ. Rows "
    "of different reports are not compared here: `fusion-bench compare` does that, where data, surroundings and "
    "seeds are the same."
)


def _table(board: ReportBoard) -> str:
    rows = [{"row": row} for row in board.rows]
    return markdown_table(
        rows,
        {
            "arm": lambda item: code(item["row"].arm),
            "report": lambda item: f"[{escape(item['row'].report)}]({_markdown_link(item['row'].link)})",
            "%": lambda item: item["row"].texts["mean"][0],
            "difference, points": lambda item: item["row"].texts["difference"][0],
            "seeds": lambda item: item["row"].texts["seeds"][0],
            "ties": lambda item: item["row"].texts["ties"][0],
            "verdict": lambda item: item["row"].texts["verdict"],
            "data": lambda item: escape(item["row"].data),
            "digest of the data": lambda item: _manifest(item["row"]),
            "surroundings": lambda item: str(item["row"].surroundings),
            "metric": lambda item: escape(item["row"].metric),
        },
        left=2,
    )


def _manifest(row: BoardRow) -> str:
    return code(row.manifest) if row.manifest else DASH


def _surroundings(board: ReportBoard) -> list[str]:
    return [
        f"{number}. {' '.join(f'*{escape(heading)}*: {escape(text)}' for heading, text in around)}"
        for number, around in enumerate(board.surroundings, 1)
    ]


def _unread(board: ReportBoard) -> list[str]:
    lines = []
    for folder in board.unread:
        pages = ", ".join(f"[{escape(page)}]({_markdown_link(page)})" for page in folder.pages)
        lines.append(f"- {escape(folder.name)}: {escape(folder.reason)}{f'; {pages}' if pages else ''}")
    return lines


def _markdown_link(path: str) -> str:
    """Return a relative path as the target of a link; a letter that could end it or start a scheme is quoted."""
    return quote(path)


def _title(folder: Path) -> str:
    return escape(folder.resolve().name.capitalize() or "Reports")


def board_page(board: ReportBoard, folder: Path) -> str:
    """Return the index as HTML."""
    rows = [_page_row(row) for row in board.rows]
    return (
        page_environment("fusion_bench.comparing.leaderboard")
        .get_template("leaderboard.html.jinja")
        .render(
            **style_and_script(),
            mark=Markup(_MARK),  # noqa: S704 - a constant
            title=folder.resolve().name.capitalize() or "Reports",
            counted=f"{plural(len(board.reports), 'report')}, {plural(len(rows), 'row')}",
            note=_NOTE,
            reports=[
                {
                    "name": report.name,
                    "link": _markdown_link(report.link),
                    "title": report.title,
                    "found": report.found,
                }
                for report in board.reports
            ],
            rows=rows,
            columns=_COLUMNS,
            verdicts=sorted({row["verdict"][0] for row in rows}),
            surroundings=board.surroundings,
            unread=[
                {
                    "name": item.name,
                    "reason": item.reason,
                    "pages": [(page, _markdown_link(page)) for page in item.pages],
                }
                for item in board.unread
            ],
        )
    )


def _page_row(row: BoardRow) -> dict[str, Any]:
    """Return the texts of a row, each with what it is sorted by, and what the filter searches."""
    verdict = row.texts["verdict"]
    return {
        "arm": row.arm,
        "link": _markdown_link(row.link),
        "report": row.report,
        "data": row.data,
        "manifest": row.manifest or DASH,
        "surroundings": row.surroundings,
        "metric": row.metric,
        "searched": " ".join([row.arm, row.report, row.data, row.manifest, row.metric]),
        **{name: row.texts[name] for name in _COLUMNS if name != "verdict"},
        "verdict": (verdict, verdict),
    }
