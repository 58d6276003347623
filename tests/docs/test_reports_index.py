"""The index of the published reports names every report, and every link in it leads to a file."""

from __future__ import annotations

import re
from pathlib import Path

REPORTS = Path(__file__).parents[2] / "reports"


def test_every_published_report_is_listed_and_every_link_leads_somewhere() -> None:
    text = (REPORTS / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert {path.parent.name for path in REPORTS.glob("*/study.json")} <= {
        link.split("/")[0] for link in links
    }
    assert not [link for link in links if not (REPORTS / link).is_file()]
