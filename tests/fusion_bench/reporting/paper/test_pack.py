"""The pack for a paper: its numbers are those of the report, it is LaTeX, and equal studies give equal files."""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.figures import _PLOTS, draw_vector
from fusion_bench.reporting.paper.pack import write_paper
from fusion_bench.reporting.paper.rows import paper_rows
from fusion_bench.reporting.paper.table import csv_table, latex_table
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.report.report import make_report, rebuild
from fusion_bench.reporting.tables.answer_rows import answer_rows
from fusion_bench.reporting.tables.formatting import MINUS
from fusion_bench.reporting.tables.tables import Tables, build_tables
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.sequential import Stages, planned_looks
from read_latex import check_syntax, compile_tex, has_tex, table_cells

Make = Callable[..., StudyResults]
FIGURES = {"arms", "differences", "curves", "costs", "slices", "samples", "critical_difference"}
HOSTILE = r"50%_of \input{x} & [a] * $5 #1 ~^"


@pytest.fixture(scope="module")
def pack(make_results: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack of the invented study, made with its report; not to be changed."""
    results = make_results()
    shown = dataclasses.replace(results, pictures=results.pictures.head(4))
    folder = tmp_path_factory.mktemp("pack") / "report"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fusion_bench.reporting.report.report.draw_figures", lambda *_: {})
        make_report(shown, folder, paper=True)
    return folder / "paper"


@pytest.fixture(scope="module")
def study(make_results: Make) -> tuple[StudyResults, Tables]:
    """A study with a label that is hostile to LaTeX."""
    results = make_results(seeds=5, clusters=150)
    new = {"film": HOSTILE}
    arms = tuple(dataclasses.replace(arm, label=new.get(arm.label, arm.label)) for arm in results.arms)
    tables = {
        name: getattr(results, name).replace({"arm": new})
        for name in ("cells", "values", "samples", "curves")
    }
    renamed = dataclasses.replace(results, arms=arms, **tables)
    return renamed, build_tables(renamed)


def test_the_folder_holds_a_table_and_every_figure(pack: Path) -> None:
    assert {path.name for path in pack.iterdir()} == {
        "paper.tex",
        "table.tex",
        "table.csv",
        "references.bib",
        "figures",
    }
    assert {path.name for path in (pack / "figures").iterdir()} == {
        f"{name}.{ending}" for name in FIGURES for ending in ("pdf", "svg")
    }
    for path in (pack / "figures").iterdir():
        content = path.read_bytes()
        assert content.startswith(b"%PDF" if path.suffix == ".pdf" else b"<?xml")
        assert b"CreationDate" not in content and b"<dc:date>" not in content
    assert sum(path.stat().st_size for path in pack.rglob("*") if path.is_file()) < 2_000_000


def test_a_report_that_is_made_anew_makes_its_pack_anew_with_equal_bytes(pack: Path, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(pack.parent, folder)
    (folder / "paper" / "table.tex").write_text("numbers of an earlier report")
    (folder / "paper" / "figures" / "critical_difference.svg").unlink()
    captions = {name: plot.caption for name, plot in _PLOTS.items()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fusion_bench.reporting.report.report.draw_figures", lambda *_: {})
        patched.setattr("fusion_bench.reporting.paper.pack.draw_vectors", lambda *_: captions)
        rebuild(folder)
    for path in pack.rglob("*"):
        if path.is_file():
            assert (folder / "paper" / path.relative_to(pack)).read_bytes() == path.read_bytes(), path.name


def test_a_figure_that_is_drawn_again_has_equal_bytes(pack: Path, tmp_path: Path) -> None:
    results = load(pack.parent)
    data = FigureData.of(results, build_tables(results))
    for name in ("costs", "samples"):
        assert draw_vector(data, _PLOTS[name].size, _PLOTS[name].draw, tmp_path / name)
        for ending in ("pdf", "svg"):
            again = (tmp_path / f"{name}.{ending}").read_bytes()
            assert again == (pack / "figures" / f"{name}.{ending}").read_bytes(), (name, ending)


def test_the_numbers_are_those_of_the_report(pack: Path) -> None:
    """Every number of a row stands in the row of the same arm in ``report.md``, the means and costs included."""
    report = (pack.parent / "report.md").read_text(encoding="utf-8").replace(MINUS, "-")
    lines: dict[str, str] = {}
    for line in report.splitlines():
        if found := re.match(r"\|(?:[^|`]*\|)? *`([^`]+)` *\|", line):
            lines[found[1]] = lines.get(found[1], "") + line
    rows = list(csv.DictReader((pack / "table.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 7
    for row in rows:
        for name, text in row.items():
            if text and name not in {"arm", "role", "converged"}:
                assert re.search(rf"(?<![\d.]){re.escape(text)}(?![\d])", lines[row["arm"]]), (
                    row["arm"],
                    name,
                )


def test_csv_and_latex_have_the_same_rows(study: tuple[StudyResults, Tables]) -> None:
    results, tables = study
    rows = paper_rows(results, tables)
    cells = table_cells(latex_table(results, tables, rows))
    heads, body = cells[0], cells[1:]
    assert all(len(row) == len(heads) for row in body)
    written = list(csv.DictReader(csv_table(rows).splitlines()))
    assert [row["arm"] for row in written] == [row.arm for row in rows]
    for row, found in zip(written, body, strict=True):
        mean = found[1].replace("$", "")
        assert all(row[name] in mean for name in ("mean", "mean_low", "mean_high"))
        assert all(row[name] in found[2] for name in ("difference", "difference_low", "difference_high"))


def test_the_best_is_bold_and_a_decided_difference_has_a_dagger(study: tuple[StudyResults, Tables]) -> None:
    results, tables = study
    verdicts = {row.arm: (row.difference or {}).get("verdict", "") for row in answer_rows(results, tables)}
    first = next(row.arm for row in answer_rows(results, tables) if row.place == 1)
    rows = paper_rows(results, tables)
    assert {"better", "worse"} & set(verdicts.values())
    for row, cells in zip(rows, table_cells(latex_table(results, tables, rows))[1:], strict=True):
        line = " ".join(cells)
        assert (r"\textbf" in line) == (row.arm == first)
        assert (r"\dag" in line) == (verdicts.get(row.arm) in {"better", "worse"})
        assert (r"\ddag" in line) == (verdicts.get(row.arm) == "equivalent")


def test_the_caption_names_test_seeds_images_and_correction(study: tuple[StudyResults, Tables]) -> None:
    results, tables = study
    text = latex_table(results, tables, paper_rows(results, tables))
    means = tables.means[(tables.means["split"] == "test") & (tables.means["metric"] == "accuracy")]
    samples, clusters = int(means["samples"].iloc[0]), int(means["clusters"].iloc[0])
    caption = text.split(r"\caption{")[1].split(r"\label")[0]
    for said in (
        "test accuracy",
        "seeds",
        f"${samples:,}$ samples".replace(",", "{,}"),
        f"${clusters}$ images",
        "Student's $t$ for crossed seeds and images",
        f"Holm's procedure~\\cite{{holm1979}} over {tables.comparisons['p_holm'].notna().sum()} comparisons",
        f"all {tables.ties.pairs()} pairs",
    ):
        assert said in caption


def test_the_caption_of_a_study_with_looks_or_two_seeds_says_so(make_results: Make) -> None:
    results = make_results(seeds=2, bad_ends=False)
    tables = build_tables(results)
    rows = paper_rows(results, tables)
    text = latex_table(results, tables, rows)
    assert "fewer than 3 seeds" in text and r"\dag" not in text and "Ties" not in text
    staged = dataclasses.replace(results, stages=Stages(planned_looks((3, 6))))
    text = latex_table(staged, tables, rows)
    assert r"Looks at 3 and 6 seeds spend 2.5 \% and 2.5 \% of the error rate" in text
    assert "at 5\\,\\% after" not in text


@pytest.mark.parametrize("linked", ["paper", "paper/figures"])
def test_a_folder_that_links_to_a_place_outside_is_refused(pack: Path, tmp_path: Path, linked: str) -> None:
    folder, outside = tmp_path / "report", tmp_path / "outside"
    shutil.copytree(pack.parent, folder)
    shutil.move(folder / linked, outside)
    (folder / linked).symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fusion_bench.reporting.report.report.draw_figures", lambda *_: {})
        with pytest.raises(FusionBenchError, match="lies outside of it"):
            rebuild(folder)
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


def test_every_citation_is_in_the_bibliography(pack: Path) -> None:
    text = (pack / "paper.tex").read_text() + (pack / "table.tex").read_text()
    cited = {key for keys in re.findall(r"\\cite\{([^}]+)\}", text) for key in keys.split(",")}
    keys = set(re.findall(r"^@\w+\{([^,]+),$", (pack / "references.bib").read_text(), flags=re.MULTILINE))
    assert cited == keys


def test_the_files_are_latex(pack: Path, study: tuple[StudyResults, Tables]) -> None:
    pytest.importorskip("pylatexenc", reason="pylatexenc, which parses LaTeX, is not installed")
    results, tables = study
    hostile = latex_table(results, tables, paper_rows(results, tables))
    for text in (hostile, *(path.read_text() for path in pack.glob("*.tex"))):
        assert text.isascii()
        check_syntax(text)


@pytest.mark.skipif(not has_tex(), reason="pdflatex and bibtex are not installed")
def test_the_document_compiles(pack: Path, study: tuple[StudyResults, Tables], tmp_path: Path) -> None:
    folder = tmp_path / "paper"
    shutil.copytree(pack, folder)
    results, tables = study
    (folder / "table.tex").write_text(latex_table(results, tables, paper_rows(results, tables)))
    said = compile_tex(folder, "paper")
    assert "undefined" not in said and "Overfull" not in said
    assert (folder / "paper.pdf").stat().st_size > 50_000


def test_a_study_without_a_mean_has_no_pack(make_results: Make, tmp_path: Path) -> None:
    results = make_results()
    tables = build_tables(results)
    empty = dataclasses.replace(tables, means=tables.means.head(0))
    with pytest.raises(FusionBenchError, match="no mean to show"):
        write_paper(results, empty, tmp_path / "paper")
