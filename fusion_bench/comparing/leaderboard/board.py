"""The reports in a folder as one index: what each found, and one row per arm, data set and surroundings.

Every number is one of the report's own; nothing is compared across reports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.html.page import PAGE, arm_rows
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.report.answer import answer_sentences
from fusion_bench.reporting.report.report import REPORT
from fusion_bench.reporting.tables.tables import Tables, build_tables
from fusion_bench.results.results import StudyResults
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.spec.contexts import report_folder

_SURROUNDINGS = ("Backbone", "Words", "Slot", "Head", "Budget", "Start", "Training", "Selection")
_DATA = re.compile(r"(?P<name>[^,:;]+)(?:, (?P<shown>[^:;]*))?")


@dataclass(frozen=True, eq=False)
class BoardRow:
    """One arm of a report or of one of its contexts.

    Attributes:
        report: the name of the report, with its context.
        link: the page of the report, relative to the folder.
        arm: the label of the arm.
        data: name and version of the data set; ``manifest`` is the digest of its manifest.
        surroundings: the number of its surroundings in `ReportBoard.surroundings`, from 1.
        metric: the primary split and metric.
        texts: the row of the report's own table (`fusion_bench.reporting.html.page.arm_rows`).
    """

    report: str
    link: str
    arm: str
    data: str
    manifest: str
    surroundings: int
    metric: str
    texts: dict[str, Any]


@dataclass(frozen=True)
class ListedReport:
    """A report: its name, the page of it, its title, and what it found (Markdown)."""

    name: str
    link: str
    title: str
    found: str


@dataclass(frozen=True)
class UnreadFolder:
    """A folder that is not listed: its name, why, and its pages, relative to the folder."""

    name: str
    reason: str
    pages: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ReportBoard:
    """The reports in a folder.

    Attributes:
        reports: those that could be read, in the order of their folders.
        rows: one row per arm of each of them and of their contexts.
        surroundings: each surroundings that a row names, as pairs of heading and sentence.
        unread: the other folders.
    """

    reports: tuple[ListedReport, ...]
    rows: tuple[BoardRow, ...]
    surroundings: tuple[tuple[tuple[str, str], ...], ...]
    unread: tuple[UnreadFolder, ...]


def read_board(folder: Path, notify: Notify = say_nothing) -> ReportBoard:
    """Return the reports in the folders of a folder; one that cannot be read is listed with the reason.

    Args:
        folder: holds a folder for each report, such as ``reports`` or ``runs/studies``.
        notify: is told which report is read.

    Raises:
        FusionBenchError: the folder does not exist or holds no report that can be read.
    """
    if not folder.is_dir():
        raise FusionBenchError(f"{folder} is no folder; name one that holds reports, such as reports")
    reports, rows, unread = [], [], []
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    own = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for place, path in enumerate(own, 1):
        notify("reading reports:", place, len(own))
        found = next((at for at in (path, path / "report") if (at / "study.json").is_file()), None)
        if found is None:
            pages = tuple(page.relative_to(folder).as_posix() for page in sorted(path.glob("*.md")))
            unread.append(UnreadFolder(path.name, "it holds no report of a study (no study.json)", pages))
            continue
        try:
            results = load(found)
            tables = build_tables(results)
            more = list(_rows(results, tables, found, folder, path.name, numbers))
        except FusionBenchError as error:
            unread.append(UnreadFolder(path.name, str(error)))
            continue
        rows += more
        link = _page(found, folder)
        sentences = " ".join(answer_sentences(results, tables))
        reports.append(ListedReport(path.name, link, results.title or results.name, sentences))
    if not reports:
        reasons = f": {unread[0].name}: {unread[0].reason}" if unread else ""
        raise FusionBenchError(
            f"{folder} holds no folder with a report that can be read{reasons}; name one that holds reports"
        )
    return ReportBoard(tuple(reports), tuple(rows), tuple(numbers), tuple(unread))


def _rows(
    results: StudyResults,
    tables: Tables,
    at: Path,
    folder: Path,
    name: str,
    numbers: dict[tuple[tuple[str, str], ...], int],
) -> Iterator[BoardRow]:
    """Yield the rows of a report and of its contexts; new surroundings get the next number."""
    data, around = _data_and_surroundings(results)
    number = numbers.setdefault(around, len(numbers) + 1)
    for texts in arm_rows(results, tables):
        if texts["role"] != "control":
            yield BoardRow(
                name,
                _page(at, folder),
                texts["arm"],
                data,
                results.environment.get("data manifest", ""),
                number,
                f"{results.primary_split} {results.primary}",
                texts,
            )
    for label, context in results.contexts.items():
        inner = at / report_folder(label)
        yield from _rows(context, build_tables(context), inner, folder, f"{name}, {label}", numbers)


def _data_and_surroundings(results: StudyResults) -> tuple[str, tuple[tuple[str, str], ...]]:
    setup = dict(results.setup)
    found = _DATA.match(setup.get("Data", ""))
    data = found["name"].strip() if found else "unknown data"
    shown = (
        [("Images", found["shown"].strip().removeprefix("images at "))] if found and found["shown"] else []
    )
    around = [(heading, setup[heading]) for heading in _SURROUNDINGS if heading in setup]
    numerics = results.environment.get("numerics source", "")
    return data, (*shown, *around, *([("Numerics", numerics)] if numerics else []))


def _page(at: Path, folder: Path) -> str:
    page = PAGE if (at / PAGE).is_file() else REPORT
    return (at / page).relative_to(folder).as_posix()
