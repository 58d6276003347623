"""Addresses of the MLflow pages that answer a researcher's questions, instead of the page it opens by itself."""

from __future__ import annotations

import json
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
        cells: ids of the runs of its cells.
        report: id of the run that holds the report, if there is one.
        view: key of the saved view, if there is one.
    """

    study: str
    experiment: str
    primary: str
    cells: tuple[str, ...]
    report: str | None = None
    view: str | None = None


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
    runs = f"{base}/#/experiments/{destination.experiment}/runs"
    # Cells only: arms and the report stand in the same experiment and would be counted along.
    flat = {
        "workflowType": "machine_learning",
        "searchFilter": "tags.kind = 'cell'",
        "orderByKey": f"metrics.`{destination.primary}`",
        "orderByAsc": "false",
    }
    links = [
        Link("table of all cells, best first", f"{runs}?{_query(flat)}"),
        Link("charts of all cells", f"{runs}?{_query({**flat, 'compareRunsMode': 'CHART'})}"),
    ]
    if destination.view is not None:
        shared = {"workflowType": "machine_learning", "viewStateShareKey": destination.view}
        links.append(Link("cells grouped by arm", f"{runs}?{_query(shared)}"))
    if len(destination.cells) > 1:
        compared = {"runs": json.dumps(destination.cells), "experiments": json.dumps([destination.experiment])}
        links.append(Link("comparison of all cells", f"{base}/#/compare-runs?{_query(compared)}"))
    if destination.report is not None:
        page = f"{base}/#/experiments/{destination.experiment}/runs/{destination.report}"
        links.append(Link("report", f"{page}?{_query({'workflowType': 'machine_learning'})}"))
    return tuple(links)


def server_of(uri: str) -> str | None:
    """The address that shows a tracking URI by itself, without its password; None if none does (a database)."""
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _query(values: dict[str, str]) -> str:
    return urlencode(values, quote_via=quote)
