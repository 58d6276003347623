"""Ranks over several reports: what is left out, what is said about power, and the files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from command_line import command_line
from fusion_bench import load_report
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.across.comparison import compare_across
from fusion_bench.reporting.across.text import across_markdown, caution_lines
from fusion_bench.reporting.across.write import write_across
from fusion_bench.reporting.published.publish import save
from fusion_bench.results.results import StudyResults

pytest.importorskip("scikit_posthocs", reason="scikit-posthocs is not installed")
Make = Callable[..., StudyResults]


def named(results: StudyResults, name: str, **changed: str) -> StudyResults:
    """The study under another name, with some arms of another module."""
    arms = tuple(
        dataclasses.replace(arm, component=changed.get(arm.label, arm.component)) for arm in results.arms
    )
    return dataclasses.replace(
        results, name=name, arms=arms, environment={"data manifest": f"data of {name}"}
    )


@pytest.fixture(scope="module")
def folders(make_results: Make, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two studies; one that ranks fewer arms; one with a context; one whose FiLM is another module."""
    root, plain = tmp_path_factory.mktemp("reports"), make_results(seeds=2, clusters=8, bad_ends=False)
    fewer = dataclasses.replace(
        named(plain, "fewer"),
        arms=tuple(
            dataclasses.replace(
                arm, unranked="it has no width" if arm.label == "concat" else "", factors={"width": 3}
            )
            for arm in plain.arms
        ),
    )
    studies = {
        "one": named(plain, "one"),
        "two": dataclasses.replace(named(make_results(seeds=3, clusters=8), "two"), lower_is_better=()),
        "fewer": fewer,
        "with context": dataclasses.replace(
            named(plain, "with context"), contexts={"deep": named(plain, "with context")}
        ),
        "other film": named(plain, "other film", film="my_film.py"),
    }
    for name, study in studies.items():
        save(dataclasses.replace(study, pictures=study.pictures.head(0)), root / name)
    return {name: root / name for name in studies}


def test_every_number_follows_from_the_reports(folders: dict[str, Path]) -> None:
    table = compare_across([folders["one"], folders["two"]]).table().set_index("arm")
    assert set(table.index) == {"laconv", "film", "concat", "cross_attention"}
    ranks = {}
    for name in ("one", "two"):
        means = load_report(folders[name]).means.query("split == 'test' and metric == 'accuracy'")
        own = means.set_index("arm")["estimate"].loc[table.index]
        assert table[f"mean/{name}"].tolist() == own.tolist()
        ranks[name] = own.rank(ascending=False)
        assert table[f"rank/{name}"].tolist() == ranks[name].tolist()
    assert table["mean_rank"].tolist() == pd.DataFrame(ranks).mean(axis=1).loc[table.index].tolist()
    assert table["mean_rank"].is_monotonic_increasing and table["p_holm"].isna().sum() == 1


def test_what_is_left_out_is_said(folders: dict[str, Path]) -> None:
    found = compare_across([folders["one"], folders["fewer"]])
    assert "concat" not in found.complete.arms
    said = " ".join(caution_lines(found))
    assert (
        "`concat` is left out: no ranked result in fewer." in said
        and "Settings differ between the reports: " in said
    )
    other = compare_across([folders["one"], folders["other film"]])
    assert "`film` is left out: another module or network" in " ".join(caution_lines(other))
    text = across_markdown(found)
    assert "2 data sets decide next to nothing" in text and "Nemenyi's test can show nothing here" in text


def test_one_report_is_ranked_over_its_contexts(folders: dict[str, Path]) -> None:
    found = compare_across([folders["with context"]])
    assert found.complete.blocks == ("with context", "with context (deep)")
    assert "have the same data" in " ".join(caution_lines(found))
    assert found.tests.chi_square > 0


def test_a_metric_that_should_fall_is_ranked_the_other_way(
    make_results: Make, folders: dict[str, Path], tmp_path: Path
) -> None:
    falling = dataclasses.replace(
        named(make_results(seeds=2, clusters=8, bad_ends=False), "falling"), lower_is_better=("accuracy",)
    )
    save(dataclasses.replace(falling, pictures=falling.pictures.head(0)), tmp_path / "falling")
    table = compare_across([folders["one"], tmp_path / "falling"]).table()
    assert (table["rank/one"] + table["rank/falling"] == 5).all() and (table["mean_rank"] == 2.5).all()
    assert table["mean/one"].tolist() == table["mean/falling"].tolist()


def test_the_command_writes_a_page_a_table_and_a_diagram(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    said = command_line(capsys)("across", folders["one"], folders["two"], "--out", out)
    assert said.code == 0 and "Friedman's test" in said.out and "across.md" in said.out
    assert {path.name for path in out.iterdir()} == {
        "across.md",
        "across.csv",
        *(f"critical_difference.{ending}" for ending in ("png", "svg", "pdf")),
    }
    with Image.open(out / "critical_difference.png") as drawn:
        assert drawn.width == 1296
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    write_across(compare_across([folders["one"], folders["two"]]), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_wrong_folders_are_one_sentence(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match="holds no report"):
        compare_across([tmp_path, folders["one"]])
    with pytest.raises(FusionBenchError, match="two of the reports are of one study, 'one'"):
        compare_across([folders["one"], folders["one"]])
    with pytest.raises(FusionBenchError, match="1 data set has 4 arms"):
        compare_across([folders["one"]])
