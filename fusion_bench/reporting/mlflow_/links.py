"""Addresses of the MLflow pages of a study; the start page of MLflow shows none of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from fusion_bench.reporting.html.page import PAGE
from fusion_bench.reporting.mlflow_.content.views import ARM_TABLE, CHARTS, TABLE, TRIALS

LOCAL_SERVER: Final = "http://127.0.0.1:5000"  # the default of `fusion-bench ui`


@dataclass(frozen=True)
class Destination:
    """The ids of one study in a tracking store.

    Attributes:
        study: the name of the study.
        experiment: the id of its experiment.
        primary: the metric by which tables are sorted, best first.
        cells: the ids of the runs of its finished cells.
        arms: the ids of the runs of its arms with a finished cell, at most as many as MLflow compares.
        report: the id of the run with the report; None without one.
        views: the keys of the saved views (`fusion_bench.reporting.mlflow_.content.views`).
        search: the id of the experiment with the trials of its search; None without one.
        changed: when it was changed last, in milliseconds since 1970.
    """

    study: str
    experiment: str
    primary: str
    cells: tuple[str, ...]
    arms: tuple[str, ...] = ()
    report: str | None = None
    views: tuple[str, ...] = ()
    search: str | None = None
    changed: int = 0


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

    def view(key: str, kind: str) -> dict[str, str]:
        """Return the query of a view; where it was not saved, the same runs in the page's own columns."""
        if key in destination.views:
            return {"viewStateShareKey": key}
        order = {"orderByKey": f"metrics.`{destination.primary}`", "orderByAsc": "false"}
        return {"searchFilter": f"tags.kind = '{kind}'", **order}

    charts = {**view(CHARTS, "cell"), "compareRunsMode": "CHART"}
    links = [
        Link("table of all cells, best first", f"{experiment}/runs?{_query(view(TABLE, 'cell'))}"),
        Link("table of the arms, means over seeds", f"{experiment}/runs?{_query(view(ARM_TABLE, 'arm'))}"),
        Link("charts of the arms", f"{experiment}/runs?{_query(charts)}"),
    ]
    if len(destination.arms) > 1:
        compared = {"runs": _json(destination.arms), "experiments": _json([destination.experiment])}
        links.append(Link("comparison of the arms", f"{base}/#/compare-runs?{_query(compared)}"))
    if destination.search is not None:
        trials = {"viewStateShareKey": TRIALS}
        page = f"{base}/#/experiments/{destination.search}/runs"
        links.append(Link("trials of the search", f"{page}?{_query(trials)}"))
    if destination.report is not None:
        page = f"{experiment}/runs/{destination.report}/artifacts/report/{PAGE}"
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
