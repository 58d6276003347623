"""The page of a report in a real browser: nothing is refused, tables and samples filter, and axe finds no fault."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import html5lib
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

from fusion_bench.reporting.html.page import PAGE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: on Debian, apt install chromium"),
]


@pytest.fixture(scope="module")
def opened(invented_report: Path) -> Iterator[tuple[Page, list[str]]]:
    """The page, and what the browser complained about."""
    complaints: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1250, "height": 900})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda request: complaints.append(request.url) if "://" in request.url[:8] else None
        )
        page.goto(invented_report.with_name(PAGE).as_uri())
        complaints[:] = [text for text in complaints if text != page.url]
        yield page, complaints
        browser.close()


def arms(page: Page) -> list[str]:
    return page.locator("#arm-table tbody tr:visible th").all_inner_texts()


def keys_of(page: Page) -> list[str]:
    """What the rows are sorted by in the column of parameters."""
    cells = page.locator("#arm-table tbody tr td:nth-child(10)")
    keys: list[str] = cells.evaluate_all("cells => cells.map(cell => cell.dataset.key)")
    return keys


def test_the_file_is_valid_html(invented_report: Path) -> None:
    html5lib.HTMLParser(strict=True).parse(invented_report.with_name(PAGE).read_text())


def test_nothing_is_refused_loaded_or_broken(opened: tuple[Page, list[str]]) -> None:
    page, complaints = opened
    assert complaints == []
    widths = page.locator("#sample-list img").evaluate_all(
        "images => images.map(image => image.naturalWidth)"
    )
    assert widths and all(width > 0 for width in widths)


def test_the_table_sorts_by_numbers_with_what_is_missing_last(opened: tuple[Page, list[str]]) -> None:
    page, _ = opened
    heading = page.get_by_role("button", name="parameters")
    heading.click()
    keys = keys_of(page)
    known = [float(key) for key in keys if key]
    assert known == sorted(known) and len(set(known)) > 2
    heading.click()
    turned = keys_of(page)
    assert [float(key) for key in turned if key] == sorted(known, reverse=True)
    assert turned[len(known) :] == [""] * (len(turned) - len(known))


def test_the_table_filters_quickly_and_writes_latex_of_its_rows(opened: tuple[Page, list[str]]) -> None:
    page, _ = opened
    page.fill("#arm-filter", "film")
    assert arms(page) == ["film"]
    page.get_by_role("button", name="LaTeX of the rows shown").click()
    written = page.inner_text("#latex")
    assert (
        written.count(r"\\") == 2 and "film &" in written and r"\%" in written and r"\bottomrule" in written
    )
    page.fill("#arm-filter", "")
    assert len(arms(page)) > 4


def test_a_click_marks_an_arm_in_the_charts(opened: tuple[Page, list[str]]) -> None:
    page, _ = opened
    page.locator("#arm-table tbody").get_by_role("button", name="film", exact=True).click()
    assert page.locator('svg .on[data-arm="film"]').count() > 2
    assert page.locator("svg .on:not([data-arm='film'])").count() == 0


def test_samples_filter_by_slice_text_and_arms_that_differ(opened: tuple[Page, list[str]]) -> None:
    page, _ = opened
    assert page.inner_text("#sample-count").startswith("1 to 20 of 50; 50 of the")
    page.select_option("#sample-slice", label="kind: count")
    shown = page.locator("#sample-list .question").all_inner_texts()
    assert shown and set(shown) == {"Which count is it?"}
    page.select_option("#sample-slice", "")
    page.select_option("#sample-arm", label="film")
    page.select_option("#sample-right", "wrong")
    marks = page.locator("#sample-list dt:text-is('film') + dd span").evaluate_all(
        "all => all.map(s => s.className)"
    )
    assert marks and set(marks) == {"wrong"}
    page.select_option("#sample-right", "")
    page.select_option("#sample-arm", "")
    page.get_by_role("button", name="Next").click()
    assert page.inner_text("#sample-count").startswith("21 to 40")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(opened: tuple[Page, list[str]], scheme: str) -> None:
    page, _ = opened
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.locator("details").evaluate_all("all => all.forEach(part => { part.open = true; })")
    faults = Axe().run(page).response["violations"]
    assert [(fault["id"], [node["html"][:200] for node in fault["nodes"]][:3]) for fault in faults] == []
