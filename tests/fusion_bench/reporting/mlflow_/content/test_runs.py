"""The MLflow runs of a study, computed without MLflow."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.content.run_names import metric_name, shown_value
from fusion_bench.reporting.mlflow_.content.run_types import MlflowRun
from fusion_bench.reporting.mlflow_.content.runs import markdown_excerpt, mlflow_runs
from fusion_bench.reporting.mlflow_.content.views import (
    ARM_TABLE,
    CHARTS,
    TABLE,
    ShownColumns,
    saved_views,
    view_tag,
)
from fusion_bench.reporting.tables.markdown_text import escape
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.results import StudyResults

Make = Callable[..., StudyResults]


def run_of(results: StudyResults, key: str, report: Path | None = None) -> MlflowRun:
    return next(run for run in mlflow_runs(results, report).runs if run.key == key)


def final(run: MlflowRun) -> dict[str, float]:
    return {point.metric: point.value for point in run.points if not point.metric.startswith("curve/")}


def test_a_run_per_arm_and_one_per_cell_that_has_been_run(make_results: Make) -> None:
    results = make_results(seeds=3)
    runs = mlflow_runs(results, None).runs
    assert [run.name for run in runs if run.kind == "arm"] == [arm.label for arm in results.arms]
    missing = int((results.cells["state"] == "missing").sum())
    assert missing == 1
    assert sum(run.kind == "cell" for run in runs) == 7 * 3 - missing
    assert {run.parent for run in runs if run.kind == "cell"} == {f"arm/{arm.label}" for arm in results.arms}


def test_final_metrics_carry_their_split_and_the_primary_one_comes_first(make_results: Make) -> None:
    results = make_results()
    run = run_of(results, "cell/laconv/1")
    table = results.values.query("arm == 'laconv' and seed == 1")
    expected = {f"{row.split}_{row.metric}": shown_value(row.value) for row in table.itertuples()}
    assert final(run) == {**expected, "epochs": 8.0, "best_epoch": 8.0, "seconds": 61.5}
    assert run.points[0].metric == "test_accuracy"


def test_curves_have_the_epoch_as_step(make_results: Make) -> None:
    results = make_results()
    run = run_of(results, "cell/film/0")
    table = results.curves.query("arm == 'film' and seed == 0 and quantity == 'select/accuracy'")
    logged = [(point.step, point.value) for point in run.points if point.metric == "curve/select_accuracy"]
    assert logged == list(zip(table["epoch"], table["value"], strict=True))


def test_an_arm_shows_the_means_over_its_finished_seeds(make_results: Make) -> None:
    results = make_results(seeds=3)
    arm = run_of(results, "arm/prior")
    cells = [final(run_of(results, f"cell/prior/{seed}"))["test_accuracy"] for seed in (0, 1)]
    assert arm.latest["test_accuracy"] == pytest.approx(sum(cells) / 2, abs=1e-5)
    assert arm.latest["seeds_done"] == 2
    assert arm.tags["state"] == "incomplete"


def test_an_arm_shows_the_means_of_the_report_with_their_intervals(make_results: Make) -> None:
    results = make_results(seeds=3)
    tables = build_tables(results)
    arm = next(run for run in mlflow_runs(results, None, tables).runs if run.key == "arm/film")
    row = tables.means.query("arm == 'film' and split == 'test' and metric == 'accuracy'").iloc[0]
    for name, column in (("", "estimate"), ("_low", "low"), ("_high", "high")):
        assert arm.latest[f"test_accuracy{name}"] == pytest.approx(row[column], rel=1e-4)
    # MLflow's page of comparisons opens on the metric that was logged first.
    assert next(iter(arm.latest)) == "test_accuracy"


def test_an_arm_with_another_name_in_the_report_shows_the_means_over_its_seeds(make_results: Make) -> None:
    results = make_results(seeds=3)
    tables = build_tables(results)
    renamed = dataclasses.replace(
        tables, means=tables.means.replace({"arm": {"film": "film (invented)", "concat": "film"}})
    )
    own = dataclasses.replace(renamed, means=renamed.means[renamed.means["arm"] != "film"])
    arm = next(run for run in mlflow_runs(results, None, own).runs if run.key == "arm/film")
    plain = run_of(results, "arm/film")
    assert arm.latest == plain.latest and "test_accuracy" in arm.latest
    note = arm.tags["mlflow.note.content"]
    assert "means over all its finished seeds" in note and "the report's" not in note


def test_params_name_the_arm_its_factors_its_cost_and_the_seed(make_results: Make) -> None:
    results = make_results()
    arm = results.arms[0]
    run = run_of(results, "cell/laconv/2")
    params = run.params
    assert params["arm"] == params["component"] == "laconv"
    assert (params["role"], params["seed"], params["kernel_size"]) == ("reference", "2", "3")
    assert run.latest["parameters"] == arm.fusion_parameters
    assert run.latest["around_multiply_adds"] == arm.around_multiply_adds


def test_a_factor_never_hides_the_arm_or_the_seed(make_results: Make) -> None:
    results = make_results()
    arm = dataclasses.replace(results.arms[0], factors={"role": "query", "seed": 9}, fusion_parameters=None)
    run = run_of(dataclasses.replace(results, arms=(arm, *results.arms[1:])), "cell/laconv/0")
    params = run.params
    assert (params["role"], params["seed"]) == ("reference", "0")
    assert (params["setting.role"], params["setting.seed"]) == ("query", "9")
    assert "parameters" not in run.latest


@pytest.mark.parametrize(
    ("key", "status", "state"),
    [("cell/prior/2", "FAILED", "failed"), ("cell/image_only/2", "KILLED", "stale")],
)
def test_bad_ends_say_why_and_show_no_metric(make_results: Make, key: str, status: str, state: str) -> None:
    results = make_results(seeds=3)
    run = run_of(results, key)
    reason = results.cells.query("state == @state")["reason"].item()
    assert (run.status, run.tags["state"], run.tags["reason"]) == (status, state, reason)
    assert escape(reason) in run.tags["mlflow.note.content"]
    assert run.points == ()


def test_values_that_are_not_finite_are_left_out(make_results: Make) -> None:
    results = make_results()
    curves = results.curves
    curves.loc[curves["epoch"] == 2, "value"] = [np.inf, np.nan] * (int((curves["epoch"] == 2).sum()) // 2)
    run = run_of(results, "cell/laconv/0")
    assert 2 not in {point.step for point in run.points}
    assert {1, 3} <= {point.step for point in run.points}


def test_equal_content_has_an_equal_digest_and_any_change_another(make_results: Make, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("# Report")
    (tmp_path / "figures").mkdir()
    figure = tmp_path / "figures" / "a.png"
    figure.write_bytes(b"one")
    results = make_results()

    before = {run.key: run.digest for run in mlflow_runs(results, report).runs}
    assert before == {run.key: run.digest for run in mlflow_runs(make_results(), report).runs}

    figure.write_bytes(b"two")
    results.values.loc[results.values["arm"] == "film", "value"] += 0.01
    after = {run.key: run.digest for run in mlflow_runs(results, report).runs}
    changed = {key for key in before if before[key] != after[key]}
    # The mean of an arm may change in place.
    assert changed == {"report", "cell/film/0", "cell/film/1", "cell/film/2"}


def test_the_report_takes_its_page_pictures_and_tables_along_and_nothing_else(
    make_results: Make, tmp_path: Path
) -> None:
    report = tmp_path / "report.md"
    report.write_text("# Report\n\n![curves](figures/a.png)\n\nlaconv is better.\n")
    (tmp_path / "figures").mkdir()
    for name in ("figures/a.png", "b.SVG", "samples.parquet", "report.html", "study.json"):
        (tmp_path / name).write_bytes(b"")
    run = run_of(make_results(), "report", report)
    shown = {"report.html", "report.md", "samples.parquet", "figures/a.png", "b.SVG"}
    assert set(run.files) == {f"report/{name}" for name in shown}
    assert run.tags["mlflow.note.content"] == "# Report\n\nlaconv is better."


def test_a_report_that_is_not_there_is_an_error(make_results: Make, tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match=re.escape("report.md does not exist")):
        mlflow_runs(make_results(), tmp_path / "report.md")


def test_a_long_report_is_cut_between_paragraphs_and_says_where_the_rest_is() -> None:
    text = "\n\n".join(f"Paragraph {number}." for number in range(1000))
    cut = markdown_excerpt(text, 500, "*The rest is elsewhere.*")
    assert len(cut) <= 500
    body, _, pointer = cut.rpartition("\n\n")
    assert pointer == "*The rest is elsewhere.*"
    assert text.startswith(body + "\n\n")
    assert markdown_excerpt("short", 500, "*The rest is elsewhere.*") == "short"


def test_an_excerpt_ends_before_a_fold_that_it_would_leave_open() -> None:
    whole = "Start.\n\n<details><summary>a</summary>\n\nx\n\n</details>"
    inside = "\n\n".join(f"Line {number}." for number in range(100))
    text = f"{whole}\n\n<details><summary>b</summary>\n\n{inside}\n\n</details>"
    assert markdown_excerpt(text, 300, "*The rest.*") == f"{whole}\n\n*The rest.*"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("test", "accuracy"), "test_accuracy"),
        (("test", "acc@1"), "test_acc_at_1"),
        (("val", "top 5 (%)"), "val_top 5 _percent_"),
        (("select/accuracy",), "select_accuracy"),
    ],
)
def test_metric_names_are_legal(parts: tuple[str, ...], name: str) -> None:
    assert metric_name(*parts) == name


def state_of(tag: str) -> dict[str, Any]:
    """The state in a view that MLflow 3.17 lists."""
    view = json.loads(tag)
    assert view["name"] and isinstance(view["createdAt"], int) and isinstance(view["state"], str)
    state: dict[str, Any] = json.loads(view["state"])
    return state


def test_views_show_the_primary_metric_and_name_only_what_is_logged(make_results: Make) -> None:
    results = make_results()
    runs = mlflow_runs(results, None, build_tables(results)).runs
    metrics = {point.metric for run in runs for point in run.points} | {n for run in runs for n in run.latest}
    params = {name for run in runs for name in run.params}
    views = saved_views(ShownColumns.of(results), "3.17.2", 1234)
    for tag, first in ((TABLE, "params.`arm`"), (ARM_TABLE, "params.`arm`"), (CHARTS, "params.`arm`")):
        state = state_of(views[view_tag(tag)])
        assert state["orderByKey"] == "metrics.`test_accuracy`"
        assert state["selectedColumns"][0] == first
        assert 6 <= len(state["selectedColumns"]) <= 11
        for column in state["selectedColumns"][:-1]:
            kind, name = re.fullmatch(r"(metrics|params)\.`(.+)`", column).groups()  # type: ignore[union-attr]
            assert name in {"metrics": metrics, "params": params}[kind]
        charts = state["compareRunCharts"]
        assert {chart["metricKey"] for chart in charts if "metricKey" in chart} <= metrics
        assert "curve/select_accuracy" in {chart.get("metricKey") for chart in charts}
        # What not every arm has would hide the parallel coordinates: kernel_size is laconv's alone.
        assert all("kernel_size" not in chart.get("selectedParams", ()) for chart in charts)


@pytest.mark.parametrize(("version", "listed"), [("3.16.1", False), ("3.17.0", True), ("4.0.0rc1", True)])
def test_views_have_names_where_this_version_lists_them(
    version: str, listed: bool, make_results: Make
) -> None:
    view = json.loads(saved_views(ShownColumns.of(make_results()), version, 1)[view_tag(TABLE)])
    assert ("name" in view) == listed
    assert ("selectedColumns" in view) != listed


def test_a_study_without_a_finished_cell_can_be_shown(make_results: Make) -> None:
    results = make_results()
    cells = results.cells.assign(state="failed", reason="no memory")
    empty = {name: getattr(results, name).iloc[:0] for name in ("values", "curves")}
    shown = mlflow_runs(dataclasses.replace(results, cells=cells, **empty), None)
    assert {run.status for run in shown.runs} == {"FAILED"}
    assert isinstance(cells, pd.DataFrame)
    saved_views(ShownColumns.of(dataclasses.replace(results, cells=cells, **empty)), "3.17.0", 1)


def test_an_arm_that_the_report_calls_by_another_label_shows_its_means(make_results: Make) -> None:
    """A report beside another one holds two arms of a name whose cells differ."""
    results = make_results(seeds=3)
    tables = build_tables(results)
    means = tables.means.assign(arm=tables.means["arm"].replace("film", "film (new)"))
    renamed = dataclasses.replace(tables, means=means)
    arm = next(run for run in mlflow_runs(results, None, renamed).runs if run.key == "arm/film")
    assert arm.latest["test_accuracy"] == run_of(results, "arm/film").latest["test_accuracy"]
