"""The written report, and its rebuilding from published files."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from markdown_it import MarkdownIt
from PIL import Image

from fusion_bench.reporting.report.report import rebuild, write_report
from fusion_bench.results.results import StudyResults

Make = Callable[..., StudyResults]


def section(text: str, heading: str) -> str:
    return re.split(r"^##+ ", text.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, list[str]]:
    """The Markdown tables of a section: first cell (without its code marks) -> the other cells."""
    found = {}
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|:"):
            first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
            found[first.strip("`")] = rest
    return found


def test_the_folder_alone_rebuilds_every_byte(invented_report: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copied elsewhere"
    shutil.copytree(invented_report.parent, folder)
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in [folder / "report.md", *folder.glob("figures/*.png")]:
        path.unlink()
    rebuild(folder)
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)
    assert all(path.read_bytes() == content for path, content in written.items())


def test_every_section_and_figure_is_there(invented_report: Path) -> None:
    text = invented_report.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings == [
        "Answer",
        "What was compared",
        "Results",
        "Differences from `laconv`",
        "Where the noise is",
        "Learning curves and convergence",
        "Cost",
        "Slices",
        "Where the arms disagree",
        "Expected values",
        "Cells without a result",
        "How the numbers are made",
        "Environment and reproduction",
    ]
    figures = re.findall(r"!\[.+\]\((.+)\)", text)
    assert len(figures) == 6
    for figure in figures:
        with Image.open(invented_report.parent / figure) as image:
            assert image.width == 1296 and np.asarray(image.convert("L")).std() > 5


def test_the_answer_has_a_table_then_the_figure_then_the_lists(invented_report: Path) -> None:
    answer = section(invented_report.read_text(encoding="utf-8"), "Answer")
    places = [
        answer.index(start)
        for start in ("**Limits**: ", "| place", "![Mean and", "<details>", "> All verdicts")
    ]
    assert places == sorted(places)
    assert answer.count("<details>") == answer.count("</details>") == 1


def test_slices_that_repeat_others_are_named(make_results: Make, tmp_path: Path) -> None:
    results = make_results(clusters=20)
    samples = results.samples.assign(hops=results.samples["kind"], version="1")
    results = dataclasses.replace(
        results, samples=samples, slices=("kind", "hops", "version"), pictures=results.pictures.head(0)
    )
    text = section(write_report(results, tmp_path).read_text(encoding="utf-8"), "Slices")
    assert (
        "Slices with the same samples are shown once: hops *color* is kind *color*; hops *count* is kind *count*; "
        "hops *exist* is kind *exist*; version *1* is all samples." in text
    )
    assert "**kind**" in text and "**hops**" not in text and "**version**" not in text


def test_every_table_is_a_table_to_a_markdown_reader(make_results: Make, tmp_path: Path) -> None:
    results = make_results()
    for table in (results.cells, results.values, results.samples, results.curves):
        table["arm"] = table["arm"].replace("film", "fi|lm")
    arms = tuple(dataclasses.replace(a, label="fi|lm") if a.label == "film" else a for a in results.arms)
    path = write_report(dataclasses.replace(results, arms=arms, margin=None), tmp_path / "out")
    text = path.read_text(encoding="utf-8")
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert html.count("<table>") == len(re.findall(r"^\|:-", text, flags=re.MULTILINE))
    for table in re.findall(r"<table>.*?</table>", html, flags=re.DOTALL):
        widths = {
            len(re.findall(r"<t[hd]\b", row)) for row in re.findall(r"<tr>.*?</tr>", table, flags=re.DOTALL)
        }
        assert len(widths) == 1
    assert '<td style="text-align:left">fi|lm</td>' in html
    assert not re.search(r"\bnan\b(?! |\))", text.replace("(nan)", ""))


def test_a_report_of_two_arms_says_where_its_p_values_are_too_small(
    make_results: Make, invented_report: Path, tmp_path: Path
) -> None:
    whole, kept = make_results(), ("laconv", "film")
    tables = {name: getattr(whole, name) for name in ("cells", "values", "samples", "curves")}
    two = dataclasses.replace(
        whole,
        arms=tuple(arm for arm in whole.arms if arm.label in kept),
        **{name: table[table["arm"].isin(kept)] for name, table in tables.items()},
    )
    said = "a p-value is right at 5 %, and with few seeds too small where it is far below 5 %"
    assert said in write_report(two, tmp_path / "out").read_text(encoding="utf-8")
    assert said not in invented_report.read_text(encoding="utf-8")


def test_results_csv_holds_every_value_and_every_reason(make_results: Make, invented_report: Path) -> None:
    results = make_results()
    table = pd.read_csv(invented_report.parent / "results.csv")
    assert table["value"].notna().sum() == len(results.values)
    unfinished = results.cells.loc[results.cells["state"] != "done", "reason"]
    assert set(table.loc[table["state"] != "done", "reason"]) == set(unfinished)


def test_failed_stale_and_missing_cells_are_listed_with_their_reason(invented_report: Path) -> None:
    listed = section(invented_report.read_text(encoding="utf-8"), "Cells without a result")
    assert "**failed**" in listed and "the loss was not finite (nan) at epoch 3" in listed
    assert "**stale**" in listed and "**missing**" in listed


def test_a_study_in_which_everything_failed_still_has_a_report(make_results: Make, tmp_path: Path) -> None:
    results = make_results()
    results.cells["state"] = "failed"
    results.cells["reason"] = "the loss was not finite"
    nothing = {name: getattr(results, name).iloc[:0] for name in ("values", "samples", "curves", "pictures")}
    path = write_report(dataclasses.replace(results, **nothing), tmp_path / "out")
    text = path.read_text(encoding="utf-8")
    assert "No arm has a result." in text and "**Limits**: 21 of 21 cells gave no result." in text
    assert "Nothing can be compared" in text and "No curve was recorded." in text
    assert not list(path.parent.glob("figures/*.png"))


def test_a_study_with_nothing_optional(make_results: Make, tmp_path: Path) -> None:
    """A study with one seed and no controls, slices, images, floors, expected values, margin, latency or search."""
    results = make_results(seeds=1, bad_ends=False)
    arms = tuple(
        dataclasses.replace(arm, latency_ms=None, fusion_parameters=None, fusion_multiply_adds=None)
        for arm in results.arms
        if arm.role != "control"
    )
    kept = [arm.label for arm in arms]
    tables = {
        name: getattr(results, name)[getattr(results, name)["arm"].isin(kept)]
        for name in ("cells", "values", "samples", "curves")
    }
    none = {name: getattr(results, name).iloc[:0] for name in ("pictures", "floors", "expected")}
    bare = dataclasses.replace(
        results, arms=arms, slices=(), margin=None, cautions=(), command="", **tables, **none
    )
    text = write_report(bare, tmp_path / "out").read_text(encoding="utf-8")
    for heading in (
        "## Slices",
        "## Cost",
        "## Expected values",
        "## Where the arms disagree",
        "### Against",
    ):
        assert heading not in text
    assert "None: all 4 cells are finished." in text


def test_the_distance_from_a_matched_budget_is_shown(
    make_results: Make, invented_report: Path, tmp_path: Path
) -> None:
    results = make_results(bad_ends=False)
    arms = tuple(
        dataclasses.replace(arm, budget_distance=0.2, unranked="the study fixes its hidden")
        if arm.label == "film"
        else dataclasses.replace(arm, budget_distance=-0.004)
        for arm in results.arms
    )
    matched = dataclasses.replace(results, arms=arms, budget="parameters", tolerance=0.05)
    text = write_report(matched, tmp_path / "matched").read_text(encoding="utf-8")
    shown = rows(section(text, "Results"))
    assert shown["arm"][-1] == "from the budget"
    assert shown["film"][-1] == "+20.0 %, not ranked"
    assert shown["concat"][-1] == shown["prior"][-1] == "\N{MINUS SIGN}0.4 %"
    assert rows(section(text, "Differences from `laconv`"))["film"][-1] == "not ranked"
    assert "The family is every arm within the budget against the reference" in text

    plain = invented_report.read_text(encoding="utf-8")
    assert "budget" not in section(plain, "Results")
    assert "The family is every arm against the reference" in plain
