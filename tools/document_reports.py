"""``docs/reference/reports.md``: the index of the published reports, from ``reports/README.md``."""

from __future__ import annotations

import re
from pathlib import Path

_HEAD = """\
# Published reports

Written by `python tools/document.py` from `reports/README.md`, which `fusion-bench leaderboard reports` writes; do
not edit. The reports lie in the repository, in the folder `reports/`: each as `report.md`, as `report.html` for a
browser, and as the tables from which both are made. `reports/index.html` shows the table below, to be sorted and
filtered. See [Compare reports](../how-to/compare_reports.md).
"""
_LINK = re.compile(r"\[((?:[^\]\\]|\\.)*)\]\(([^)]*)\)")


def reports_page(folder: Path) -> str:
    """Return the page as Markdown; ``folder`` is that of the reports.

    Pages outside of ``docs/`` are no part of the site: their paths are written instead of links.
    """
    text = (folder / "README.md").read_text(encoding="utf-8")
    found, rest = text[text.index("\n- [") :].split("\n## ", 1)
    listed = _LINK.sub(r"**\1** (`reports/\2`)", found.strip())
    return f"{_HEAD}\n{listed}\n\n## {_LINK.sub(_plain, rest)}"


def _plain(link: re.Match[str]) -> str:
    return link[1]
