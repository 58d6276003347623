"""MLflow's own pages in a real browser: what `ui` links to is there, from a copied runs folder."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

from fusion_bench.reporting.mlflow_.links import Destination, deep_links
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import destinations, sync_study
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.tables.tables import build_tables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: on Debian, apt install chromium"),
]
# MLflow's assistant hides a quarter of the page. A sandboxed frame has no storage.
CLOSE_ASSISTANT = """try {
  localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
  localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
} catch (error) {}"""
ARMS = {"laconv", "film", "cross_attention", "concat", "prior", "image_only", "question_only"}


@dataclass
class Opened:
    """A browser on the pages of a study.

    Attributes:
        page: the page.
        links: the links that `ui` printed, by title.
        address: of the server.
        destination: the study.
        complaints: what the browser said about the report; MLflow's own pages have complaints of their own.
        pictures: the folder of the screenshots.
    """

    page: Page
    links: dict[str, str]
    address: str
    destination: Destination
    pictures: Path
    complaints: list[str] = field(default_factory=list)

    def at(self, title: str) -> Page:
        """Open a link and wait for its page."""
        self.page.goto("about:blank")  # MLflow's links differ behind the # alone, which loads nothing anew
        self.page.goto(self.links.get(title, title))
        return self.page

    def shoot(self, name: str) -> None:
        self.page.screenshot(path=self.pictures / f"{name}.png")


@contextmanager
def started_ui(runs: Path) -> Iterator[tuple[dict[str, str], str]]:
    """The links that `ui` prints, and the address of its server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = (
        "import signal; from pathlib import Path; from fusion_bench.cli.ui import serve\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"serve(Path({str(runs)!r}), port={port})"
    )
    server = subprocess.Popen(
        [sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with server:
        assert server.stdout is not None
        printed = ""
        for line in server.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        yield dict(re.findall(r"^  (.+):\n    (http\S+)$", printed, re.MULTILINE)), f"http://127.0.0.1:{port}"
        server.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def opened(
    invented_report: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opened]:
    made, runs = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("copied") / "runs"
    shutil.copy(empty_database, made / "mlflow.db")
    results = load(invented_report.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        sync_study(results, invented_report, TrackingStore.of(made), tables=build_tables(results))
        shutil.move(made, runs)
        with started_ui(runs) as (links, address), sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1720, "height": 860})
            page.add_init_script(CLOSE_ASSISTANT)
            pictures = Path(os.environ.get("FUSION_BENCH_SCREENSHOTS") or tmp_path_factory.mktemp("shots"))
            (destination,) = destinations(TrackingStore.of(runs))
            found = Opened(page, links, address, destination, pictures)
            page.on("pageerror", lambda error: found.complaints.append(str(error)))
            page.on("console", lambda message: _heard(found, message))
            page.set_default_timeout(30_000)
            yield found
            browser.close()


def _heard(opened: Opened, message: ConsoleMessage) -> None:
    """Keep an error; MLflow's own pages ask for a user that a server without passwords does not have."""
    if message.type == "error" and "/users/current" not in message.location.get("url", ""):
        opened.complaints.append(f"{message.location.get('url', '')}: {message.text}")


def test_the_table_shows_every_cell_in_short_columns_and_the_views_are_listed(opened: Opened) -> None:
    page = opened.at("table of all cells, best first")
    page.get_by_role("link", name="laconv · seed 0").wait_for()
    names = page.get_by_role("link", name=re.compile(" · seed ")).all_inner_texts()
    assert {name.partition(" · ")[0] for name in names} == ARMS
    shown = page.locator(".ag-header-cell:visible")
    left = shown.evaluate_all(
        "all => all.map(h => [h.getBoundingClientRect().left, h.innerText.trim(), h.getAttribute('col-id')]).sort("
        "(a, b) => a[0] - b[0])"
    )
    opened.shoot("cells")
    heads = [name for _, name, _ in left if name]
    own = heads[heads.index("arm") :]
    assert own[:2] == ["arm", "seed"] and own[2:4] == ["test_accuracy", "val_accuracy"]
    assert {"parameters", "multiply_adds", "latency_ms", "Duration", "state"} <= {*own} and len(heads) <= 12
    values = page.locator('.ag-cell[col-id="metrics.`test_accuracy`"]').all_inner_texts()
    numbers = [float(value) for value in values if value not in {"", "-"}]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) > 10
    page.get_by_test_id("saved-views-trigger").click()
    for name in ("cells, best first", "arms, best first", "means over seeds"):
        page.get_by_role("menuitem").filter(has_text=name).wait_for()
    opened.shoot("views")


def test_three_arms_are_compared_with_their_means(opened: Opened, invented_report: Path) -> None:
    three = dataclasses.replace(opened.destination, arms=opened.destination.arms[:3])
    links = {link.title: link.url for link in deep_links(three, opened.address)}
    page = opened.at(links["comparison of the arms"])
    page.get_by_text("Comparing 3 Runs from 1 Experiment").wait_for()
    means = build_tables(load(invented_report.parent)).means
    mean = means.query("split == 'test' and metric == 'accuracy' and arm == 'laconv'")["estimate"].item()
    page.get_by_text(re.compile(re.escape(f"{mean:.3g}"))).first.wait_for()
    opened.shoot("comparison")


def test_the_report_opens_whole_and_filters(opened: Opened) -> None:
    opened.complaints.clear()
    page = opened.at("report")
    frame = page.frame_locator("iframe")
    frame.locator("#arm-table tbody tr").first.wait_for()
    opened.shoot("report")
    images = frame.locator("img")
    images.first.wait_for(state="attached")
    widths = images.evaluate_all(
        "async all => { for (const i of all) { i.loading = 'eager'; await i.decode().catch(() => 0); }"
        " return all.map(i => i.naturalWidth); }"
    )
    assert widths and all(width > 0 for width in widths)
    frame.locator("#arm-filter").fill("film")
    assert frame.locator("#arm-table tbody tr:visible th").all_inner_texts() == ["film"]
    frame.locator("#sample-slice").select_option(label="kind: count")
    questions = frame.locator("#sample-list .question").all_inner_texts()
    assert questions and {*questions} == {"Which count is it?"}
    frame.locator("#sample-list").scroll_into_view_if_needed()
    opened.shoot("samples")
    assert opened.complaints == []
