"""Addresses of the MLflow pages that answer a researcher's questions, instead of the page it opens by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

LOCAL_SERVER: Final = "http://127.0.0.1:5000"  # where `fusion-bench ui` serves unless told otherwise


@dataclass(frozen=True)
class Destination:
    """Where one study stands in a tracking store.

    Attributes:
        study: its name.
        experiment: MLflow's id of its experiment.
        primary: the metric that tables are sorted by, best first.
        cells: ids of the runs of its finished cells.
        report: id of the run that holds the report, if there is one.
        table, charts: keys of the saved views of `views`, where they could be saved.
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
    """A page and what it shows."""

    title: str
    url: str


def deep_links(destination: Destination, server: str = LOCAL_SERVER) -> tuple[Link, ...]:
    """The pages worth opening, most useful first.

    Args:
        destination: the study.
        server: where MLflow is served (``http://127.0.0.1:5000``).
    """
    base = server.rstrip("/")
    experiment = f"{base}/#/experiments/{destination.experiment}"
    # Cells only: arms and the report stand in the same experiment and would be counted along.
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


def server_of(uri: str) -> str | None:
    """The address that shows a tracking URI by itself, without its password; None if none does (a database)."""
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _query(values: Mapping[str, str]) -> str:
    # Without the last, the page opens on its views for chat traces. Last: the comparison wants its runs first.
    return urlencode({**values, "workflowType": "machine_learning"}, quote_via=quote)


def _json(ids: Sequence[str]) -> str:
    return json.dumps(ids, separators=(",", ":"))
