"""Arms of several reports, paired by sample and seed: the numbers recomputed, names, families and exit codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from command_line import CommandLine, command_line
from fusion_bench import load_report
from fusion_bench.comparing.compare import COMPARED, compare_reports
from fusion_bench.comparing.comparison_text import comparison_markdown
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.publish import load, save
from fusion_bench.statistics.sequential import Stages, TakenLook, planned_looks
from paired_reports import DrawnReport

BASE = DrawnReport("base", {"laconv": 0.8, "film": 0.75, "prior": 0.3}, controls=["prior"])
NEW = DrawnReport("new", {"laconv": 0.8, "mine": 0.55, "prior": 0.3}, controls=["prior"])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BASE.write(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return NEW.write(tmp_path_factory.mktemp("new"))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setattr("fusion_bench.cli.main.set_environment", lambda: None)
    return command_line(capsys)


def scores(folder: Path, arm: str) -> pd.Series:
    """The scores of an arm from the tidy table, by seed, image and sample."""
    samples = load_report(folder).samples
    own = samples[(samples["arm"] == arm) & (samples["split"] == "test")]
    return own.set_index(["seed", "cluster", "sample"])["score"].sort_index()


def test_a_difference_is_that_of_the_samples_of_both_reports_paired(base: Path, new: Path) -> None:
    table = compare_reports([base, new]).table.set_index("arm")
    reference = scores(base, "laconv")
    for folder, arm in ((new, "mine"), (base, "film"), (base, "prior")):
        own = scores(folder, arm)
        assert own.index.equals(reference.index)
        assert table.loc[arm, "estimate"] == pytest.approx((own - reference).mean(), abs=1e-12)
        assert table.loc[arm, "mean"] == pytest.approx(own.mean(), abs=1e-12)
        assert table.loc[arm, ["seeds", "clusters", "samples"]].tolist() == [3, 60, 120]


def test_the_interval_of_two_reports_of_one_arm_each_is_the_crossed_one(tmp_path: Path) -> None:
    """With two arms there is no pool of other arms: the interval is recomputed from crossed mean squares."""
    one = DrawnReport("one", {"laconv": 0.8}).write(tmp_path)
    two = DrawnReport("two", {"mine": 0.55}).write(tmp_path)
    row = compare_reports([one, two]).table.iloc[0]
    paired = (scores(two, "mine") - scores(one, "laconv")).groupby(["seed", "cluster"]).mean().unstack()
    seeds, images = paired.shape
    centred = paired.to_numpy() - paired.to_numpy().mean()
    by_seed, by_image = centred.mean(1), centred.mean(0)
    rest = centred - by_seed[:, None] - by_image[None]
    square_seed = images * (by_seed**2).sum() / (seeds - 1)
    square_image = seeds * (by_image**2).sum() / (images - 1)
    square_rest = (rest**2).sum() / ((seeds - 1) * (images - 1))
    combined = max(square_seed + square_image - square_rest, square_seed, square_image)
    assert row["standard_error"] == pytest.approx(np.sqrt(combined / (seeds * images)))
    reach = stats.t.ppf(0.975, row["degrees"]) * row["standard_error"]
    assert row["high"] - row["estimate"] == pytest.approx(reach)
    assert row["p"] == pytest.approx(
        2 * stats.t.sf(abs(row["estimate"]) / row["standard_error"], row["degrees"])
    )


def test_holm_runs_over_all_arms_of_all_reports_and_over_no_control(base: Path, new: Path) -> None:
    table = compare_reports([base, new]).table.set_index("arm")
    p = table.loc[["mine", "film"], "p"].sort_values()
    by_hand = np.maximum.accumulate([2 * p.iloc[0], p.iloc[1]]).clip(max=1)
    assert table.loc[p.index, "p_holm"].tolist() == pytest.approx(by_hand)
    assert np.isnan(table.loc["prior", "p_holm"]) and table.loc["prior", "verdict"] == ""


def test_one_report_alone_has_the_numbers_of_its_report(base: Path) -> None:
    found, own = (
        compare_reports([base]).table.set_index("arm"),
        load_report(base).comparisons.set_index("arm"),
    )
    shared = ["estimate", "low", "high", "p", "p_holm", "seeds", "reference_seeds"]
    pd.testing.assert_frame_equal(found.loc[own.index, shared], own[shared])
    assert found["verdict"].to_dict() == own["verdict"].to_dict()
    assert found["new"].all()


def test_an_arm_with_equal_cells_is_one_arm_and_other_cells_of_its_name_are_another(tmp_path: Path) -> None:
    same = compare_reports([BASE.write(tmp_path / "a"), NEW.write(tmp_path / "b")])
    assert set(same.joined.homes["laconv"]) == {"base", "new"}
    changed = replace(NEW, name="changed", skill={"laconv": 0.6, "film": 0.75})
    found = compare_reports([tmp_path / "a" / "base", changed.write(tmp_path / "c")])
    assert set(found.table["arm"]) == {"laconv (changed)", "film", "prior"}
    assert found.joined.results.reference == "laconv (base)"
    assert found.joined.homes["film"] == ("base", "changed")


def test_equal_ids_with_other_answers_are_two_arms(tmp_path: Path) -> None:
    """The source of the module changed: the id is the same, the numbers are not."""

    def worse(samples: pd.DataFrame) -> pd.DataFrame:
        own = (samples["arm"] == "laconv") & (samples["sample"] < "q060")
        return samples.assign(
            prediction=samples["prediction"].mask(own, "no"), score=samples["score"].mask(own, 0.0)
        )

    edited = replace(BASE, name="edited", alter=worse)
    found = compare_reports([BASE.write(tmp_path), edited.write(tmp_path)])
    assert found.worse == ("laconv (edited)",)
    assert set(found.table["arm"]) == {"laconv (edited)", "film", "prior"}


def test_reports_of_one_name_are_called_by_their_folders(tmp_path: Path) -> None:
    other = replace(BASE, skill={"laconv": 0.7}).write(tmp_path / "later")
    found = compare_reports([BASE.write(tmp_path / "earlier"), other])
    assert f"laconv ({other.as_posix()})" in set(found.table["arm"])
    with pytest.raises(FusionBenchError, match="named twice"):
        compare_reports([other, other])


def test_another_reference_is_named_by_its_label(base: Path, new: Path) -> None:
    table = compare_reports([base, new], "mine").table.set_index("arm")
    assert table.loc["laconv", "estimate"] == pytest.approx(
        (scores(base, "laconv") - scores(new, "mine")).mean(), abs=1e-12
    )
    for reference, problem in (("mien", "did you mean 'mine'"), ("prior", "is a control")):
        with pytest.raises(FusionBenchError, match=problem):
            compare_reports([base, new], reference)


def test_a_lone_arm_is_told_that_there_is_nothing_to_compare(tmp_path: Path) -> None:
    lone = DrawnReport("lone", {"laconv": 0.8, "prior": 0.3}, controls=["prior"]).write(tmp_path)
    with pytest.raises(FusionBenchError, match="lone holds one arm alone, 'laconv'"):
        compare_reports([lone])


def test_a_report_with_looks_is_compared_alone_only(base: Path, tmp_path: Path) -> None:
    stages = Stages(planned_looks([3, 5]), ())
    staged = replace(NEW, name="staged", results={"stages": stages}).write(tmp_path)
    assert len(compare_reports([staged]).table) == 2
    with pytest.raises(FusionBenchError, match=r"staged cannot be paired .* it has looks"):
        compare_reports([base, staged])


def test_the_command_prints_the_table_writes_files_and_ends_with_3(
    cli: CommandLine, base: Path, new: Path, tmp_path: Path
) -> None:
    said = cli("compare", base, new, "--out", tmp_path / "out", "--fail-if", "worse")
    assert said.code == 3
    assert "worse than laconv: mine" in said.err
    written = pd.read_parquet(tmp_path / "out" / "comparison.parquet")
    assert list(written.columns) == COMPARED
    assert (tmp_path / "out" / "comparison.md").read_text() == said.out
    assert len(pd.read_csv(tmp_path / "out" / "comparison.csv")) == len(written) == 3
    row = next(line for line in said.out.splitlines() if line.startswith("| `mine`"))
    mine = written.set_index("arm").loc["mine"]
    assert f"{100 * mine['mean']:.1f}" in row and "worse" in row


def test_a_worse_arm_of_the_first_report_ends_with_0(cli: CommandLine, base: Path, new: Path) -> None:
    """Its verdict stands in its own report; the gate is about what is new."""
    said = cli("compare", new, base, "--fail-if", "worse")
    assert said.code == 0
    assert "worse" in next(line for line in said.out.splitlines() if line.startswith("| `mine`"))
    assert cli("compare", new, "--fail-if", "worse").code == 3


def test_labels_are_escaped(tmp_path: Path) -> None:
    odd = DrawnReport("odd", {"laconv": 0.8, "<script>|`": 0.5}).write(tmp_path)
    text = comparison_markdown(compare_reports([odd]))
    assert "\\<script\\>\\|\\`" in text


def without(arm: str, seeds: set[int]) -> Any:
    """Return what leaves out the answers of some cells, as a failure does."""
    return lambda samples: samples[~((samples["arm"] == arm) & samples["seed"].isin(seeds))]


def failed(report: DrawnReport, arm: str, seeds: set[int], folder: Path) -> Path:
    """A report in which these cells of an arm have failed."""
    at = replace(report, alter=without(arm, seeds)).write(folder)
    results = load(at)
    gone = (results.cells["arm"] == arm) & results.cells["seed"].isin(seeds)
    states = results.cells["state"].mask(gone, "failed")
    values = results.values[~((results.values["arm"] == arm) & results.values["seed"].isin(seeds))]
    save(replace(results, cells=results.cells.assign(state=states), values=values), at)
    return at


def test_a_failed_cell_is_taken_from_the_report_that_has_it(tmp_path: Path) -> None:
    half = failed(BASE, "film", {2}, tmp_path / "half")
    whole = replace(BASE, name="whole").write(tmp_path)
    for folders in ([half, whole], [whole, half]):
        row = compare_reports(folders).table.set_index("arm").loc["film"]
        assert (row["seeds"], row["reports"].count(";")) == (3, 1)
        assert row["estimate"] == pytest.approx(
            (scores(whole, "film") - scores(whole, "laconv")).mean(), abs=1e-12
        )


def test_an_arm_that_failed_altogether_is_that_of_the_other_report(tmp_path: Path) -> None:
    none = failed(BASE, "film", {0, 1, 2}, tmp_path / "none")
    found = compare_reports([none, replace(BASE, name="whole").write(tmp_path)])
    assert found.table.set_index("arm").loc["film", "seeds"] == 3


def test_seeds_of_another_source_are_not_mixed(tmp_path: Path) -> None:
    """No seed is finished in both reports, so that answers cannot tell whether the module is the same."""
    first = failed(BASE, "film", {1, 2}, tmp_path / "first")
    edited = replace(BASE, name="edited", origin={"module": "e" * 16})
    second = failed(edited, "film", {0}, tmp_path / "second")
    assert {"film (base)", "film (edited)"} <= set(compare_reports([first, second]).table["arm"])
    same = failed(replace(BASE, name="same"), "film", {0}, tmp_path / "third")
    assert compare_reports([first, same]).table.set_index("arm").loc["film", "seeds"] == 3


def spoken(samples: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Let an arm give wrong answers that no other arm gives, as boxes and masks are."""
    own = (samples["arm"] == arm) & (samples["score"] == 0)
    return samples.assign(prediction=samples["prediction"].mask(own, "no " + samples["sample"]))


def test_an_arm_is_one_arm_though_others_of_the_reports_give_other_answers(tmp_path: Path) -> None:
    one = replace(BASE, alter=lambda samples: spoken(samples, "film")).write(tmp_path)
    other = replace(NEW, alter=lambda samples: spoken(samples, "mine")).write(tmp_path)
    found = compare_reports([one, other])
    assert set(found.joined.homes["laconv"]) == {"base", "new"}
    assert set(found.table["arm"]) == {"film", "mine", "prior"}


def test_samples_of_a_split_that_is_not_evaluated_do_not_matter(tmp_path: Path) -> None:
    def more(samples: pd.DataFrame) -> pd.DataFrame:
        seen = samples.assign(split="val", sample="v" + samples["sample"], cluster="v" + samples["cluster"])
        return pd.concat([samples, seen.head(7)], ignore_index=True)

    found = compare_reports([BASE.write(tmp_path), replace(NEW, alter=more).write(tmp_path)])
    assert found.table.set_index("arm").loc["mine", "samples"] == 120


def test_another_reference_than_that_of_the_looks_is_refused(tmp_path: Path) -> None:
    first, second = planned_looks([3, 5])
    taken = TakenLook(first.seeds, first.alpha, ("mine",), ("mine",))
    staged = replace(NEW, name="staged", results={"stages": Stages((first, second), (taken,))}).write(
        tmp_path
    )
    assert set(compare_reports([staged]).table["arm"]) == {"mine", "prior"}
    with pytest.raises(FusionBenchError, match=r"staged has looks, .* 'laconv'; leave out --reference"):
        compare_reports([staged], "mine")


def test_an_arm_without_a_seed_of_the_reference_is_named(base: Path, tmp_path: Path) -> None:
    found = compare_reports([base, failed(NEW, "mine", {0, 1, 2}, tmp_path)])
    assert found.not_compared == ("mine",)
    text = comparison_markdown(found)
    assert "Not compared: `mine` shares no finished seed with the reference." in text
    assert "Not compared" not in comparison_markdown(compare_reports([base]))


def fewer_seeds(report: DrawnReport, folder: Path) -> Path:
    """A report whose reference alone has its last two seeds."""
    arms = [arm for arm in report.skill if arm != next(iter(report.skill))]
    last = set(report.seeds[-2:])
    at = replace(
        report, alter=lambda samples: samples[~(samples["arm"].isin(arms) & samples["seed"].isin(last))]
    ).write(folder)
    results = load(at)
    tables = {
        name: table[~(table["arm"].isin(arms) & table["seed"].isin(last))]
        for name, table in (("cells", results.cells), ("values", results.values), ("curves", results.curves))
    }
    save(replace(results, **tables), at)
    return at


def test_further_seeds_of_the_reference_are_those_of_one_report_or_the_same(tmp_path: Path) -> None:
    five = replace(BASE, skill={**BASE.skill, "concat": 0.7, "bilinear": 0.72}, seeds=range(5))
    more = fewer_seeds(five, tmp_path)
    table = compare_reports([more, NEW.write(tmp_path)]).table.set_index("arm")
    assert table.loc["mine", ["seeds", "reference_seeds"]].tolist() == [3, 5]
    again = fewer_seeds(replace(NEW, name="again", seeds=range(5)), tmp_path)
    assert compare_reports([more, again]).table.set_index("arm").loc["mine", "reference_seeds"] == 5
    other = fewer_seeds(replace(NEW, name="other", seeds=(0, 1, 2, 5, 6)), tmp_path)
    with pytest.raises(FusionBenchError, match=r"the seeds of the reference differ: 0, 1, 2, 3, 4 in base"):
        compare_reports([more, other])
