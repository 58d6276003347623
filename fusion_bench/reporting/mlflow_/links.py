"""Addresses of the MLflow pages of a study; the start page of MLflow shows none of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

LOCAL_SERVER: Final = "http://127.0.0.1:5000"  # the default of `fusion-bench ui`


@dataclass(frozen=True)
class Destination:
    """The ids of one study in a tracking store.

    Attributes:
        study: the name of the study.
        experiment: the id of its experiment.
        primary: the metric by which tables are sorted, best first.
        cells: the ids of the runs of its finished cells.
        report: the id of the run with the report; None without one.
        table: the key of the saved table view (`fusion_bench.reporting.mlflow_.views`); None if it was not saved.
        charts: the key of the saved view of charts; None if it was not saved.
    """

    study: str
    experiment: str
    primary: str
    cells: tuple[str, ...]
    report: str | None = None
    table: str | None = None
    charts: str | None = None


@dataclass(frozen=True)
class Link:
    """The title and the address of a page."""

    title: str
    url: str


def deep_links(destination: Destination, server: str = LOCAL_SERVER) -> tuple[Link, ...]:
    """Return the links to the pages of a study, the most useful first.

    Args:
        destination: the study.
        server: the address of the MLflow server (``http://127.0.0.1:5000``).
    """
    base = server.rstrip("/")
    experiment = f"{base}/#/experiments/{destination.experiment}"
    # Only cells: the experiment also contains the runs of arms and of the report.
    flat = {
        "searchFilter": "tags.kind = 'cell'",
        "orderByKey": f"metrics.`{destination.primary}`",
        "orderByAsc": "false",
    }
    table = {"viewStateShareKey": destination.table} if destination.table else flat
    charts = {"viewStateShareKey": destination.charts} if destination.charts else flat
    links = [
        Link("table of all cells, best first", f"{experiment}/runs?{_query(table)}"),
        Link("charts of the arms", f"{experiment}/runs?{_query({**charts, 'compareRunsMode': 'CHART'})}"),
    ]
    if len(destination.cells) > 1:
        compared = {"runs": _json(destination.cells), "experiments": _json([destination.experiment])}
        links.append(Link("comparison of all cells", f"{base}/#/compare-runs?{_query(compared)}"))
    if destination.report is not None:
        page = f"{experiment}/runs/{destination.report}/artifacts/report/report.md"
        links.append(Link("report", f"{page}?{_query({})}"))
    return tuple(links)


def how_to_see(uri: str, runs: Path) -> str:
    """Return one line that says how to see the studies of a store in a browser.

    Args:
        uri: the tracking URI of the store.
        runs: the runs folder as the user wrote it.
    """
    server = server_of(uri)
    if server is not None:
        return f"MLflow: {server} (fusion-bench ui prints links to the study's pages)"
    own = f" --runs {shlex.quote(str(runs))}" if runs != Path("runs") else ""
    return f"MLflow: fusion-bench ui{own}"


def server_of(uri: str) -> str | None:
    """Return the address of the server behind a tracking URI, without its password; None for a database."""
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _query(values: Mapping[str, str]) -> str:
    # Without workflowType the page opens on its views for chat traces. It is last, because the comparison page reads
    # its runs from the start of the query.
    return urlencode({**values, "workflowType": "machine_learning"}, quote_via=quote)


def _json(ids: Sequence[str]) -> str:
    return json.dumps(ids, separators=(",", ":"))
