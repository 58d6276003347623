"""The numbers of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.html.trends import curve_plots
from fusion_bench.reporting.tables.tables import build_tables, drawn_quantities, selection_quantity
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.crossed import crossed
from fusion_bench.statistics.scores import Scores

Make = Callable[..., StudyResults]


def test_means_are_those_of_the_stored_values(make_results: Make) -> None:
    results = make_results()
    stored = results.values.groupby(["split", "metric", "arm"])["value"].mean()
    found = build_tables(results).means.set_index(["split", "metric", "arm"])["estimate"]
    assert np.allclose(found.loc[stored.index], stored)


def test_a_consistency_is_recognised_and_gets_its_interval(make_results: Make) -> None:
    means = build_tables(make_results()).means
    means = means[means["metric"] == "consistency"]
    assert means.loc[means["seeds"] >= 2, ["low", "high"]].notna().all(axis=None)


def test_consistency_may_be_primary(make_results: Make) -> None:
    results = dataclasses.replace(make_results(), primary="consistency")
    comparisons = build_tables(results).comparisons.set_index("arm")
    values = results.values[(results.values["split"] == "test") & (results.values["metric"] == "consistency")]
    means = values.groupby("arm")["value"].mean()
    assert comparisons.loc["film", "estimate"] == pytest.approx(means["film"] - means["laconv"])


def test_a_primary_metric_that_does_not_follow_from_the_answers_is_refused(make_results: Make) -> None:
    results = make_results()
    results.values["value"] += 0.01
    with pytest.raises(FusionBenchError, match="primary metric 'accuracy'"):
        build_tables(results)


def test_metrics_of_a_measure_of_each_sample_get_their_intervals(make_results: Make) -> None:
    """The mean overlap, and the share of samples whose overlap is above a threshold."""
    results = make_results()
    draws = np.random.default_rng(0).uniform(0, 0.6, len(results.samples))
    samples = results.samples.assign(iou=0.4 * results.samples["score"] + draws, pixels=7.0)
    cells = samples.groupby(["split", "arm", "seed"], observed=True)["iou"]
    found = {"mean_iou": cells.mean(), "at_0_7": cells.apply(lambda overlaps: float((overlaps > 0.7).mean()))}
    added = [
        values.rename("value")
        .reset_index()
        .assign(metric=metric)
        .merge(results.cells[["arm", "seed", "role"]], on=["arm", "seed"])
        for metric, values in found.items()
    ]
    measured = dataclasses.replace(
        results, samples=samples, measures=("iou", "pixels"), values=pd.concat([results.values, *added])
    )
    tables = build_tables(measured)
    means = tables.means.set_index(["split", "metric", "arm"])
    one = means.loc["test", "mean_iou", "film"]
    assert one["estimate"] == pytest.approx(found["mean_iou"].loc["test", "film"].mean())
    laid_out = Scores.of(samples[samples["split"] == "test"].assign(score=lambda rows: rows["iou"]), ["film"])
    assert one[["low", "high"]].tolist() == pytest.approx(list(laid_out.influences().mean("film").interval()))
    several = means[means["seeds"] >= 2].loc[("test", ["mean_iou", "at_0_7"]), ["low", "high"]]
    assert len(several) >= 8 and several.notna().all(axis=None)
    assert {"mean_iou", "at_0_7"} <= set(tables.differences["metric"])
    comparisons = build_tables(dataclasses.replace(measured, primary="mean_iou")).comparisons.set_index("arm")
    assert comparisons.loc["film", "estimate"] == pytest.approx(
        (found["mean_iou"].loc["test", "film"] - found["mean_iou"].loc["test", "laconv"]).mean()
    )


def ratios_of(samples: pd.DataFrame) -> pd.Series:
    """Return the sum of intersections over that of unions, by split, arm and seed."""
    sums = samples.groupby(["split", "arm", "seed"], observed=True)[["intersection", "union"]].sum()
    return sums["intersection"] / sums["union"]


def with_ratio(results: StudyResults, samples: pd.DataFrame, metric: str) -> StudyResults:
    """Return the study with these samples and a metric that is a ratio of their sums."""
    added = ratios_of(samples).rename("value").reset_index().assign(metric=metric)
    added = added.merge(results.cells[["arm", "seed", "role"]], on=["arm", "seed"])
    values = pd.concat([results.values, added])
    return dataclasses.replace(results, samples=samples, measures=("intersection", "union"), values=values)


def test_a_slice_named_size_changes_no_number(make_results: Make) -> None:
    """A data set may own a column of any name; weights are what the metric names, here the unions of overall IoU."""
    results = make_results()
    generator = np.random.default_rng(0)
    union = generator.integers(10, 100, len(results.samples)).astype(float)
    samples = results.samples.assign(union=union, intersection=union * generator.uniform(size=len(union)))
    plain = with_ratio(results, samples, "oiou")
    sizes = np.where(generator.uniform(size=len(union)) < 0.5, "1", "900")
    owning = dataclasses.replace(plain, samples=samples.assign(size=sizes), slices=(*results.slices, "size"))
    for primary in (results.primary, "oiou"):
        one, other = (build_tables(dataclasses.replace(item, primary=primary)) for item in (plain, owning))
        for name in ("means", "comparisons", "differences"):
            pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
        assert one.comparisons["low"].notna().any()
        assert "size" in set(other.slices["slice"])


def test_a_secondary_metric_of_another_kind_has_a_mean_and_no_interval(make_results: Make) -> None:
    results = make_results()
    values = results.values[results.values["metric"] == "accuracy"]
    other = values.assign(metric="kappa", value=0.5)
    tables = build_tables(dataclasses.replace(results, values=pd.concat([results.values, other])))
    means = tables.means[tables.means["metric"] == "kappa"]
    assert (means["estimate"] == 0.5).all() and means["low"].isna().all()
    assert "kappa" not in set(tables.differences["metric"])


def test_slices_hold_every_value_in_a_natural_order(make_results: Make) -> None:
    results = make_results()
    results.samples["length"] = results.samples["length"].map({"short": "2", "long": "10"})
    slices = build_tables(results).slices
    assert list(slices.loc[slices["slice"] == "length", "value"].unique()) == ["2", "10"]
    rows = results.samples[(results.samples["split"] == "test") & (results.samples["kind"] == "count")]
    mean = rows[rows["arm"] == "film"]["score"].mean()
    found = slices[(slices["value"] == "count") & (slices["arm"] == "film")]
    assert found["estimate"].item() == pytest.approx(mean)


def test_slices_with_the_same_samples_are_there_once(make_results: Make) -> None:
    """Another name of a partition, another name of one value, and a slice that holds everything."""
    results = make_results()
    number = results.samples["kind"].map({"exist": "0", "count": "1", "color": "2"})
    samples = results.samples.assign(
        number=number,
        counting=results.samples["kind"].where(results.samples["kind"] == "count", ""),
        asks=results.samples["kind"].replace({"exist": "other", "color": "other"}),
        version="1",
    )
    names = ("kind", "length", "number", "counting", "asks", "version")
    tables = build_tables(dataclasses.replace(results, samples=samples, slices=names))
    shown = tables.slices.drop_duplicates(["slice", "value"])
    assert [*zip(shown["slice"], shown["value"], strict=True)] == [
        *(("kind", kind) for kind in ("color", "count", "exist")),
        *(("length", length) for length in ("long", "short")),
        ("asks", "other"),
    ]
    assert tables.repeated.to_numpy().tolist() == [
        ["number", "0", "kind", "exist"],
        ["number", "1", "kind", "count"],
        ["number", "2", "kind", "color"],
        ["counting", "count", "kind", "count"],
        ["asks", "count", "kind", "count"],
        ["version", "1", "", ""],
    ]
    only = build_tables(dataclasses.replace(results, samples=samples, slices=("version",)))
    assert only.slices.empty and len(only.repeated) == 1


def test_a_ratio_of_two_sums_gets_its_intervals_and_may_be_primary(make_results: Make) -> None:
    """Overall IoU: large objects weigh more, and each arm and seed has its own unions."""
    results = make_results(bad_ends=False)
    generator = np.random.default_rng(1)
    count = len(results.samples)
    union = generator.lognormal(5, 1, count).round() + 1
    intersection = np.floor(
        union * np.clip(0.5 * results.samples["score"] + generator.uniform(0, 0.4, count), 0, 1)
    )
    samples = results.samples.assign(intersection=intersection, union=union)
    measured = dataclasses.replace(with_ratio(results, samples, "overall_iou"), primary="overall_iou")
    tables = build_tables(measured)
    means = tables.means.set_index(["split", "metric", "arm"]).sort_index().loc["test", "overall_iou"]
    by_seed = ratios_of(samples).loc["test"]
    assert means["estimate"].to_dict() == pytest.approx(by_seed.groupby("arm").mean().to_dict())
    assert means[["low", "high"]].notna().all(axis=None)
    film = tables.comparisons.set_index("arm").loc["film"]
    assert film["estimate"] == pytest.approx(by_seed["film"].mean() - by_seed["laconv"].mean())
    assert film["low"] < film["estimate"] < film["high"]
    counted = samples[
        (samples["split"] == "test") & (samples["kind"] == "count") & (samples["arm"] == "film")
    ]
    ratios = counted.groupby("seed")[["intersection", "union"]].sum()
    found = tables.slices[(tables.slices["value"] == "count") & (tables.slices["arm"] == "film")]
    assert found["estimate"].item() == pytest.approx((ratios["intersection"] / ratios["union"]).mean())


def test_a_floor_with_recorded_scores_is_paired_sample_by_sample(make_results: Make) -> None:
    """A floor answers the same drawn images, so its score varies with them; as a constant, it would not."""
    results = make_results(bad_ends=False)
    test = results.samples[(results.samples["split"] == "test")]
    easy = test[test["arm"] == "laconv"].groupby("sample")["score"].mean()
    scores = pd.DataFrame(
        {"name": "most frequent answer", "split": "test", "sample": easy.index, "score": easy > 0.5}
    )
    floor = float(scores["score"].mean())
    results.floors.loc[results.floors["split"] == "test", "accuracy"] = floor
    constant = build_tables(results).floors
    paired = build_tables(
        dataclasses.replace(
            results, floor_scores=scores.astype({"score": float}).sample(frac=1, random_state=0)
        )
    ).floors
    keys = (paired["split"] == "test") & (paired["arm"] == "laconv")
    (one,), (other,) = (table[keys].to_dict("records") for table in (paired, constant))
    assert one["estimate"] == pytest.approx(other["estimate"])
    assert one["high"] - one["low"] != pytest.approx(other["high"] - other["low"])
    wide = test[test["arm"] == "laconv"].pivot_table(index="seed", columns="sample", values="score")
    clusters = test.drop_duplicates("sample").set_index("sample")["cluster"].reindex(wide.columns)
    left = (
        (wide - scores.set_index("sample")["score"].reindex(wide.columns).astype(float))
        .T.groupby(clusters)
        .sum()
        .T
    )
    sizes = clusters.value_counts().reindex(left.columns)
    low, high = crossed(left.to_numpy(), sizes.to_numpy()).interval()
    assert [one["low"], one["high"]] == pytest.approx([float(low), float(high)])
    assert paired[paired["split"] == "hidden"].equals(constant[constant["split"] == "hidden"])


def test_floors_without_recorded_scores_shift_the_mean_and_not_the_width(make_results: Make) -> None:
    tables = build_tables(make_results())
    floor = tables.floors[(tables.floors["name"] == "wording") & (tables.floors["arm"] == "film")].iloc[0]
    means = tables.means
    mean = means[(means["split"] == "val") & (means["metric"] == "accuracy") & (means["arm"] == "film")].iloc[
        0
    ]
    assert floor["estimate"] == pytest.approx(mean["estimate"] - 0.45)
    assert floor["high"] - floor["low"] == pytest.approx(mean["high"] - mean["low"])


def test_convergence_reads_the_curve_of_the_primary_metric_if_there_is_one(make_results: Make) -> None:
    results = make_results()
    assert selection_quantity(results) == "select/accuracy"
    results.curves["quantity"] = results.curves["quantity"].replace("select/accuracy", "select/other")
    assert selection_quantity(results) == "select/other"
    learning = build_tables(results).learning.set_index("arm")
    assert learning.loc["laconv", "converged"] and not learning.loc["film", "converged"]


def test_a_curve_of_one_point_is_not_drawn(make_results: Make) -> None:
    results = make_results()
    assert drawn_quantities(results) == ["select/accuracy", "train/loss"]
    first = results.curves["samples_seen"] == results.curves["samples_seen"].min()
    evaluated = dataclasses.replace(results, curves=results.curves[first])
    assert drawn_quantities(evaluated) == []
    assert curve_plots(evaluated, build_tables(evaluated)) == []
    assert drawn_quantities(dataclasses.replace(results, curves=results.curves.iloc[:0])) == []
