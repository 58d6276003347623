"""Links to MLflow pages: each opens the named page of one study in the right mode."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from fusion_bench.reporting.mlflow_.content.views import CHARTS, TABLE, TRIALS
from fusion_bench.reporting.mlflow_.links import Destination, deep_links, server_of

STUDY = Destination("quickstart", "7", "test_accuracy", ("aa", "bb"), ("dd", "ee"), report="cc")


def opened(
    destination: Destination, title: str, server: str = "http://127.0.0.1:5000"
) -> tuple[str, dict[str, str]]:
    """The page within MLflow's one-page application that a link opens, and its parameters."""
    link = next(link for link in deep_links(destination, server) if link.title.startswith(title))
    address = urlsplit(link.url)
    page, _, query = address.fragment.partition("?")
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{server.rstrip('/')}/"
    return page, {name: values[0] for name, values in parse_qs(query, strict_parsing=True).items()}


def test_the_table_shows_cells_only_best_first() -> None:
    page, query = opened(STUDY, "table")
    assert page == "/experiments/7/runs"
    assert query == {
        "searchFilter": "tags.kind = 'cell'",
        "orderByKey": "metrics.`test_accuracy`",
        "orderByAsc": "false",
        "workflowType": "machine_learning",
    }


def test_charts_are_the_same_runs_in_chart_mode() -> None:
    _, table = opened(STUDY, "table")
    _, charts = opened(STUDY, "charts")
    assert charts == {**table, "compareRunsMode": "CHART"}


def test_saved_views_are_used_where_they_stand() -> None:
    saved = Destination("quickstart", "7", "test_accuracy", (), views=(TABLE, CHARTS))
    assert opened(saved, "table of all")[1] == {
        "viewStateShareKey": TABLE,
        "workflowType": "machine_learning",
    }
    assert opened(saved, "charts")[1]["viewStateShareKey"] == CHARTS
    assert opened(saved, "table of the arms")[1]["searchFilter"] == "tags.kind = 'arm'"


def test_the_comparison_names_every_arm_and_its_runs_come_first() -> None:
    page, query = opened(STUDY, "comparison")
    assert page == "/compare-runs"
    assert (json.loads(query["runs"]), json.loads(query["experiments"])) == (["dd", "ee"], ["7"])
    # The page looks for its runs directly behind the question mark.
    assert next(iter(query)) == "runs"


def test_the_report_opens_as_a_document() -> None:
    page, _ = opened(STUDY, "report")
    assert page == "/experiments/7/runs/cc/artifacts/report/report.html"


def test_what_does_not_exist_has_no_link() -> None:
    titles = [link.title.split()[0] for link in deep_links(Destination("q", "7", "test_accuracy", ("aa",)))]
    assert titles == ["table", "table", "charts"]


def test_the_trials_of_a_search_are_in_an_experiment_of_their_own() -> None:
    page, query = opened(Destination("q", "7", "test_accuracy", (), search="9"), "trials")
    assert (page, query["viewStateShareKey"]) == ("/experiments/9/runs", TRIALS)


def test_a_server_below_a_path_keeps_it() -> None:
    page, _ = opened(STUDY, "table", "https://lab.example/mlflow/")
    assert page == "/experiments/7/runs"


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("http://lab.example:5000", "http://lab.example:5000"),
        ("https://me:secret@lab.example/mlflow/", "https://lab.example/mlflow"),
        ("sqlite:////runs/mlflow.db", None),
        ("postgresql+psycopg://me:secret@db/mlflow", None),
    ],
)
def test_a_tracking_uri_that_is_a_server_shows_itself_without_its_password(
    uri: str, server: str | None
) -> None:
    assert server_of(uri) == server
