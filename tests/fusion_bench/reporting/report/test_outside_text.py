"""A report and the notes of MLflow show texts from outside, in whatever field, and start nothing because of them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fusion_bench.reporting.mlflow_.runs import mlflow_runs
from fusion_bench.reporting.report.report import write_report
from fusion_bench.results.results import ArmSummary, StudyResults
from read_html import SeenPage
from read_markdown import Seen, read_markdown

Make = Callable[..., StudyResults]
HTML = r"</details>|<details><summary>[^<>]*</summary>"
"""The HTML that the report itself writes."""
FIGURES = r"figures/(arms|differences|curves|costs|slices|samples)\.png"

HOSTILE = {
    "html": "<img src=x onerror=alert(1)></details><!-- | --> %s",
    "links": "[click](http://evil.example/%s) ![p](/etc/passwd) <https://evil.example> [r]: http://evil.example",
    "code": "``%s`` ` ``` | \\| \\` <b>",
    "lines": "\n\n# heading %s\n\n- item\n\n<b>\n\n```\n| a | b |\n|--|--|\n~~~\n===\n",
}


def poisoned(results: StudyResults, hostile: str) -> StudyResults:
    """The study with a hostile text, which its name tells apart, in every field that holds free text."""

    def bad(what: object) -> str:
        return hostile % re.sub(r"\W+", "", str(what))

    def in_table(name: str) -> pd.DataFrame:
        table: pd.DataFrame = getattr(results, name).copy()
        for column in TEXT_COLUMNS & {*table.columns}:
            table[column] = [
                bad(value) if isinstance(value, str) and value else value for value in table[column]
            ]
        if "state" in table:
            table["state"] = [value if value == "done" else bad(value) for value in table["state"]]
        return table.rename(columns={name: bad(name) for name in results.slices if name in table})

    def in_arm(arm: ArmSummary) -> ArmSummary:
        texts = {
            name: bad(f"{name}{getattr(arm, name)}")
            for name in ("component", "citation", "listens", "position_code")
        }
        settings = {bad("setting"): bad("value"), "depth": [bad("listed")]}
        return dataclasses.replace(
            arm,
            label=bad(arm.label),
            unranked=bad("unranked") if arm.label == "film" else "",
            factors=settings,
            searched={bad("setting"): bad("value")},
            search_trials=3,
            budget_distance=0.5,
            **texts,
        )

    tables = {
        name: in_table(name)
        for name in ("cells", "values", "samples", "curves", "pictures", "floors", "expected", "browsed")
    }
    context = dataclasses.replace(results, contexts={}, pictures=results.pictures.head(0))
    tables["curves"]["quantity"] = tables["curves"]["quantity"].replace(
        {"select/accuracy": f"select/{bad('accuracy')}"}
    )
    changed: dict[str, Any] = {
        name: bad(getattr(results, name))
        for name in (
            "name",
            "title",
            "primary",
            "primary_split",
            "select_split",
            "cluster",
            "reference",
            "command",
        )
    }
    return dataclasses.replace(
        results,
        **tables,
        **changed,
        setup=((bad("heading"), bad("sentence")), ("Data", bad("data"))),
        evaluate_splits=tuple(map(bad, results.evaluate_splits)),
        slices=tuple(map(bad, results.slices)),
        arms=tuple(map(in_arm, results.arms)),
        environment={bad("machine"): bad("version"), "device": bad("device")},
        cautions=(bad("caution"),),
        lower_is_better=(),
        budget=bad("parameters"),
        tolerance=0.1,
        contexts={f"{bad('context')}": in_context(context, results, bad)},
    )


TEXT_COLUMNS = {
    *(
        "arm",
        "reason",
        "cell",
        "split",
        "metric",
        "sample",
        "cluster",
        "prediction",
        "truth",
        "kind",
        "length",
    ),
    *("text", "name", "description", "source"),
}


def in_context(context: StudyResults, results: StudyResults, bad: Callable[[object], str]) -> StudyResults:
    """The same arms elsewhere, under the same hostile labels."""
    labels = {arm.label: bad(arm.label) for arm in results.arms}
    tables = {
        name: getattr(context, name).assign(arm=getattr(context, name)["arm"].replace(labels))
        for name in ("cells", "values", "samples", "curves")
    }
    # Contexts evaluate the same samples, so their names are the same.
    tables["samples"]["sample"] = tables["samples"]["sample"].map(bad)
    arms = tuple(dataclasses.replace(arm, label=labels[arm.label]) for arm in results.arms)
    return dataclasses.replace(context, arms=arms, reference=labels[results.reference], **tables)


def started(seen: Seen, report: bool) -> list[str]:
    """What a page starts that its own template does not."""
    html = [piece for piece in seen.html if not re.fullmatch(HTML, piece.replace("\n", ""))]
    own = rf"{FIGURES}|contexts/[\w.-]+/report\.md" if report else "-"
    return [*html, *(target for target in seen.targets if not re.fullmatch(own, target))]


@pytest.fixture(scope="module", params=HOSTILE)
def written(
    request: pytest.FixtureRequest, make_results: Make, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyResults, Path]:
    """A poisoned study and its report, without pictures and figures."""
    results = poisoned(make_results(seeds=3, clusters=10), HOSTILE[request.param])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fusion_bench.reporting.report.report.draw_figures", lambda *_: {})
        return results, write_report(results, tmp_path_factory.mktemp("hostile") / "out")


def test_a_report_starts_nothing_of_its_texts(written: tuple[StudyResults, Path]) -> None:
    results, report = written
    seen = read_markdown(report.read_text())
    assert started(seen, report=True) == []
    assert [heading for heading in seen.headings if not re.match(FIXED, heading)] == [seen.headings[0]]
    shown = "".join(seen.text.split())
    for text in (results.arms[1].label, results.arms[0].citation, results.cautions[0], results.cluster):
        assert "".join(text.split()) in shown


def test_the_page_starts_nothing_of_its_texts(written: tuple[StudyResults, Path]) -> None:
    results, report = written
    text = report.with_name("report.html").read_text()
    seen = SeenPage.of(text)
    assert seen.problems == []
    assert len(seen.scripts) == 3  # the style, the data and the script
    assert all(re.fullmatch(r"href=#[a-z]+", target) for target in seen.loaded)
    assert not {"iframe", "object", "embed", "base", "link", "img", "form"} & {*seen.tags}
    data = json.loads(seen.scripts[1])
    assert data["arms"][0] in {arm.label for arm in results.arms}
    assert "".join(results.arms[1].label.split()) in "".join("".join(seen.shown).split())


FIXED = (
    "Answer|What was compared|Results|Above the floors|Other splits|Differences from|Against the controls|Does the|"
    "Factors|Where the noise|"
    "Learning curves|Cost|Slices|Where the arms|Expected values|Cells without|How the numbers|Environment"
)


def test_every_table_keeps_its_columns(written: tuple[StudyResults, Path]) -> None:
    _, report = written
    tables = [block for block in report.read_text().split("\n\n") if block.startswith("|")]
    assert len(tables) > 10
    for table in tables:
        rows = read_markdown(table).rows
        assert len(rows) == len(table.splitlines()) - 1, table
        assert len({*rows}) == 1, table


def test_notes_of_mlflow_start_nothing_of_their_texts(written: tuple[StudyResults, Path]) -> None:
    results, report = written
    for path in (report, None):
        study = mlflow_runs(results, path)
        notes = [study.tags["mlflow.note.content"]]
        notes += [run.tags.get("mlflow.note.content", "") for run in study.runs]
        assert sum(bool(note) for note in notes) > len(results.arms)
        for note in notes:
            assert len(note) <= 8000
            assert started(read_markdown(note), report=True) == [], note


def test_long_texts_are_bounded(make_results: Make, tmp_path: Path) -> None:
    results = make_results(seeds=3, clusters=10)
    results.cells.loc[results.cells["state"] == "failed", "reason"] = "x" * 5_000_000 + "`<b>` the cause"
    long = tuple(dataclasses.replace(arm, citation="<b>" * 100_000) for arm in results.arms)
    results = dataclasses.replace(results, arms=long, pictures=results.pictures.head(0))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fusion_bench.reporting.report.report.draw_figures", lambda *_: {})
        report = write_report(results, tmp_path)
    assert len(report.read_text()) < 100_000
    assert "the cause" in report.read_text()
    for run in mlflow_runs(results, report).runs:
        note = run.tags.get("mlflow.note.content", "")
        assert len(note) <= 8000
        assert started(read_markdown(note), report=True) == []
