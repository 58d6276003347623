"""The index of a folder of reports: its rows are the reports' own numbers, and its page needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from html5lib import HTMLParser

from command_line import CommandLine, command_line
from fusion_bench import load_report
from fusion_bench.comparing.leaderboard.board import read_board
from fusion_bench.comparing.leaderboard.pages import INDEX, README, write_board
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.report.answer import answer_sentences
from fusion_bench.reporting.tables.tables import build_tables
from paired_reports import DrawnReport
from read_html import SeenPage

HOSTILE = "<script>alert(1)</script>"
FIRST = DrawnReport("first", {"laconv": 0.8, "film": 0.5, "prior": 0.3}, controls=["prior"])
SECOND = DrawnReport("second", {"laconv": 0.8, HOSTILE: 0.78}, train={"epochs": 9}, origin={"data": "e" * 64})
COLUMNS = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two reports, a damaged one, one of another format and a folder without a report, with the index of them."""
    folder = tmp_path_factory.mktemp("reports")
    for report in (FIRST, SECOND, replace(FIRST, name="damaged"), replace(FIRST, name="older")):
        report.write(folder)
    (folder / "damaged" / "samples.parquet").write_bytes(b"nothing")
    study = folder / "older" / "study.json"
    study.write_text(study.read_text().replace('"format": 1', '"format": 0'))
    (folder / "notes").mkdir()
    (folder / "notes" / "words.md").write_text("# Words\n")
    write_board(read_board(folder), folder)
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / INDEX).read_text()


@pytest.fixture(scope="module")
def rows(text: str) -> dict[tuple[str, str], list[str]]:
    """The rows of the table of arms, by report and arm."""
    return {
        (row[1], row[0]): row for row in SeenPage.of(text).rows if len(row) == COLUMNS and row[0] != "arm"
    }


def test_there_is_one_row_for_each_arm_and_none_for_a_control(rows: dict[tuple[str, str], list[str]]) -> None:
    expected = {("first", "laconv"), ("first", "film"), ("second", "laconv"), ("second", HOSTILE)}
    assert set(rows) == expected


@pytest.mark.parametrize("name", ["first", "second"])
def test_every_number_is_one_of_the_report(
    folder: Path, rows: dict[tuple[str, str], list[str]], name: str
) -> None:
    report = load_report(folder / name)
    means = report.means.query("split == 'test' and metric == 'accuracy'").set_index("arm")
    compared = report.comparisons.set_index("arm")
    ties = build_tables(load(folder / name)).ties
    for arm in report.arms.query("role != 'control'")["arm"]:
        _, _, mean, difference, seeds, letters, verdict, data, metric, _, digest = rows[(name, arm)]
        own = means.loc[arm]
        assert mean == f"{100 * own.estimate:.1f} ({100 * own.low:.1f} to {100 * own.high:.1f})"
        assert (seeds, letters) == (str(own.seeds), ties.of(arm))
        assert (data, metric) == ("colours 1", "test accuracy")
        assert digest == ("d" if name == "first" else "e") * 16
        if arm == report.reference:
            assert (difference, verdict) == ("\N{EN DASH}", "reference")
            continue
        shown = f"{100 * compared.loc[arm, 'estimate']:+.1f}".replace("-", "\N{MINUS SIGN}")
        assert difference.startswith(f"{shown} (")
        assert verdict == {"underpowered": "open"}.get(
            compared.loc[arm, "verdict"], compared.loc[arm, "verdict"]
        )


def test_other_surroundings_have_another_number_and_are_listed(
    rows: dict[tuple[str, str], list[str]], text: str
) -> None:
    numbers = {
        name: {row[9] for (report, _), row in rows.items() if report == name} for name in ("first", "second")
    }
    assert numbers == {"first": {"1"}, "second": {"2"}}
    assert "epochs&#39;: 9" in text[text.index('id="surroundings-2"') :]


def test_the_page_is_valid_loads_nothing_and_allows_its_own_style_and_script_alone(text: str) -> None:
    parser = HTMLParser(strict=False)
    parser.parse(text)
    assert parser.errors == []
    seen = SeenPage.of(text)
    assert seen.problems == []
    links = {target for target in seen.loaded if not re.fullmatch(r"href=#[a-z]+(-\d+)?", target)}
    assert links == {"href=first/report.md", "href=second/report.md", "href=notes/words.md"}
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    allowed = dict(rule.split(" ", 1) for rule in policy.replace("&#39;", "'").split("; "))
    assert allowed["default-src"] == "'none'"
    for rule, content in (("style-src", seen.scripts[0]), ("script-src", seen.scripts[2])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert allowed[rule] == f"'sha256-{digest}'"


def test_a_label_that_is_markup_stays_text(text: str, folder: Path) -> None:
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    assert SeenPage.of(text).tags.count("script") == 2
    assert "| `<script>alert(1)</script>`" in (folder / README).read_text()  # code of Markdown


def test_what_cannot_be_read_is_listed_with_the_reason(folder: Path, text: str) -> None:
    readme = (folder / README).read_text()
    for name, reason in (
        ("damaged", "samples.parquet is damaged"),
        ("older", "has another report format"),
        ("notes", "it holds no report of a study"),
    ):
        for page in (text, readme):
            part = page[page.index("Not listed") :]
            assert re.search(rf"{name}.*{reason}", part.replace("\\", "")), name
    assert "[notes/words.md](notes/words.md)" in readme


def test_the_readme_says_what_each_report_found(folder: Path) -> None:
    lines = [line for line in (folder / README).read_text().splitlines() if line.startswith("- [")]
    for name, line in zip(("first", "second"), lines, strict=False):
        results = load(folder / name)
        assert line.startswith(f"- [{name}]({name}/report.md), The study {name}: ")
        assert line.endswith(" ".join(answer_sentences(results, build_tables(results))))


def test_contexts_have_rows_of_their_own(folder: Path, tmp_path: Path) -> None:
    inner = load(SECOND.write(tmp_path / "inner"))
    replace(FIRST, results={"contexts": {"other head": inner}}).write(tmp_path / "reports")
    found = {(row.report, row.arm) for row in read_board(tmp_path / "reports").rows}
    assert ("first, other head", HOSTILE) in found and ("first", "film") in found


def test_a_file_that_somebody_wrote_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "first", tmp_path / "first")
    board = read_board(tmp_path)
    write_board(board, tmp_path)
    write_board(board, tmp_path)  # its own files are
    (tmp_path / README).write_text("# My reports\n")
    (tmp_path / INDEX).unlink()
    with pytest.raises(FusionBenchError, match="was not written by `fusion-bench leaderboard`"):
        write_board(board, tmp_path)
    assert (tmp_path / README).read_text() == "# My reports\n" and not (tmp_path / INDEX).exists()
    (tmp_path / README).unlink()
    (tmp_path / README).mkdir()
    with pytest.raises(FusionBenchError, match="was not written by `fusion-bench leaderboard`"):
        write_board(board, tmp_path)


def test_the_command_names_what_it_wrote_and_what_it_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion_bench.cli.main.set_environment", lambda: None)
    cli: CommandLine = command_line(capsys)
    said = cli("leaderboard", folder)
    assert said.code == 0
    assert "not listed: damaged: " in said.err
    assert said.out.splitlines() == [f"wrote {folder / README}", f"wrote {folder / INDEX}"]
    (tmp_path / "empty").mkdir()
    assert "holds no folder with a report" in cli("leaderboard", tmp_path / "empty").refusal()
    assert "is no folder" in cli("leaderboard", tmp_path / "nowhere").refusal()
