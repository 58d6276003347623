"""The index of reports in a real browser: its table is sorted and filtered, and axe finds no fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from fusion_bench.comparing.leaderboard.board import read_board
from fusion_bench.comparing.leaderboard.pages import INDEX, write_board
from paired_reports import DrawnReport

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: on Debian, apt install chromium"),
]


def test_the_table_is_sorted_and_filtered_and_axe_finds_no_fault(tmp_path: Path) -> None:
    DrawnReport("first", {"laconv": 0.8, "film": 0.5}).write(tmp_path)
    DrawnReport("second", {"laconv": 0.8, "mine": 0.9}, train={"epochs": 9}).write(tmp_path)
    write_board(read_board(tmp_path), tmp_path)
    complaints: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1250, "height": 900})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((tmp_path / INDEX).as_uri())
        rows = page.locator("#arm-table tbody tr:visible")
        page.click("#arm-table thead button >> nth=2")
        page.click("#arm-table thead button >> nth=2")
        means = [float(text.split()[0]) for text in rows.locator("td:nth-child(3)").all_inner_texts()]
        assert means == sorted(means, reverse=True) and len(means) == 4
        page.fill("#arm-filter", "second")
        assert sorted(rows.locator("th").all_inner_texts()) == ["laconv", "mine"]
        page.select_option("#verdict-filter", "reference")
        assert rows.locator("th").all_inner_texts() == ["laconv"]
        assert page.inner_text("#arm-count") == "1 of 4 rows"
        page.fill("#arm-filter", "")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert Axe().run(page).response["violations"] == []
        browser.close()
    assert complaints == []
