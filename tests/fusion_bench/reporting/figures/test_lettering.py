"""Texts from outside are drawn as they are: no formulas, no boxes, no lines too long; pictures prove it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.text import Text
from rich.cells import cell_len

from fusion_bench.reporting.figures.figures import draw_figures
from fusion_bench.reporting.figures.lettering import BASE_FONT, Lettering
from fusion_bench.reporting.report.report import write_report
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.results import StudyResults
from toy_font import install_font

Make = Callable[..., StudyResults]
NO_FONT_HAS = "\U00020000"
"""A rare Chinese character."""


@pytest.fixture(autouse=True)
def _fonts_of_matplotlib_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every machine has the same fonts in these tests."""
    manager = font_manager.fontManager
    own = [entry for entry in manager.ttflist if "mpl-data" in entry.fname]
    monkeypatch.setattr(manager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("is it $x_1$ or $2", "is it $x_1$ or $2"),
        ("a\tb\r\n c\u2028d", "a b c d"),
        ("\x1b[31mred\x00", r"\x1b[31mred\x00"),
        ("in\u200bvisi\u00adble \ufeff\u202edne", "invisible dne"),
        ("\u200b", "U+200B"),
        ("cafe\u0301", "caf\u00e9"),
        ("قط أحمر", "قط أحمر"),
        ("🍕? 🏳\ufe0f", "[slice of pizza] ? [waving white flag]"),
        ("中文?", "U+4E2D U+6587 ?"),
        ("\ud83d", "U+D83D"),
        ("\ue000", "U+E000"),
    ],
)
def test_what_is_drawn_for_a_text(text: str, drawn: str) -> None:
    lettering = Lettering.of([text])
    assert lettering.plain(text) == drawn
    assert lettering.plain(drawn) == drawn
    assert lettering.families == (BASE_FONT,)


def test_a_font_of_the_machine_that_has_the_characters_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = install_font("中文", tmp_path, monkeypatch)
    lettering = Lettering.of(["中文", f"文{NO_FONT_HAS} cube"])
    assert lettering.families == (BASE_FONT, family)
    assert lettering.plain(f"文{NO_FONT_HAS} cube") == "文 U+20000 cube"
    assert "(U+20000)" in lettering.note("文 U+20000 cube")
    assert lettering.note("中文") == ""
    assert Lettering.of(["plain"]).families == (BASE_FONT,)


def test_a_text_that_was_not_announced_is_no_row_of_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_font("中文", tmp_path, monkeypatch)
    assert Lettering.of(["中"]).plain("文") == "U+6587"


def test_long_texts_are_cut_and_wrapped_by_their_width() -> None:
    lettering = Lettering.of(["é"])
    assert lettering.fit("x" * 100, 10) == "x" * 9 + "…"
    assert lettering.fit("short", 10) == "short"
    lines = lettering.wrap("word " * 200, 20, 3)
    assert len(lines) == 3 and lines[-1].endswith("…")
    assert max(map(cell_len, lettering.wrap("x" * 5000, 30, 4))) == 30
    one, other = "a" * 50 + "1", "a" * 50 + "2"
    shown = lettering.distinct(["b", one, other], 20)
    assert shown["b"] == "b"
    assert (shown[one][-3:], shown[other][-3:]) == (" #2", " #3")
    assert max(map(cell_len, shown.values())) <= 20


HOSTILE = {
    "film": "_film $a_1$",
    "concat": "_hidden $",
    "cross_attention": "注 🍕 | `x`/y",
    "laconv": "قط " + "very long label " * 15,
    "prior": "a\x1b[0m\t\u200bprior",
}
"""Labels as another version, or a published folder by somebody else, may hold."""
QUESTION = "Is $5 _more_ than $x^2$? 是红色吗 قط أحمر 🍕 \\frac{1 " + "and so on " * 40


def renamed(results: StudyResults) -> StudyResults:
    """The invented study with hostile labels, questions, answers, slices, floors and names."""

    def in_table(table: pd.DataFrame) -> pd.DataFrame:
        if "arm" in table:
            table = table.assign(arm=table["arm"].replace(HOSTILE))
        for column, names in VALUES.items():
            if column in table:
                table = table.assign(**{column: table[column].replace(names)})
        return table

    tables = ("cells", "values", "samples", "curves", "floors", "expected")
    changed: dict[str, Any] = {name: in_table(getattr(results, name)) for name in tables}
    pictures = results.pictures.head(8).assign(text=QUESTION)
    changed["pictures"] = pictures.assign(truth=pictures["truth"].replace(VALUES["truth"]))
    arms = tuple(dataclasses.replace(arm, label=HOSTILE.get(arm.label, arm.label)) for arm in results.arms)
    reference = HOSTILE[results.reference]
    return dataclasses.replace(results, arms=arms, reference=reference, cluster="$ima|ge_图", **changed)


ANSWERS = {"red": "$5.00$", "yes": "_是的_", "blue": "an answer of many words " * 9, "3": "نعم"}
VALUES = {
    "truth": ANSWERS,
    "prediction": ANSWERS,
    "kind": {"exist": "$exist$", "count": "_count 数 " + "x" * 80},
    "name": {"most frequent answer": "_mo$st$ 字 " + "frequent " * 30},
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every text that a renderer draws; a warning (a missing glyph, a collapsed layout) fails the test."""
    texts: list[str] = []
    draw = Text.draw

    def recording(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            assert not text.get_parse_math()
            texts.append(text.get_text())
        draw(text, renderer)

    monkeypatch.setattr(Text, "draw", recording)
    yield texts


def test_figures_of_a_hostile_study_show_every_text(
    make_results: Make, tmp_path: Path, drawn: list[str]
) -> None:
    results = renamed(make_results(seeds=2, clusters=30, bad_ends=False))
    figures = draw_figures(results, build_tables(results), tmp_path)
    assert set(figures) == {"arms", "differences", "curves", "costs", "slices", "samples"}
    text = "\n".join(drawn)
    assert text.count("_film $a_1$") >= 6, "labels that begin with _ are in the legends too"
    assert "_hidden $" in drawn
    assert "U+6CE8 [slice of pizza] | `x`/y" in text
    assert r"a\x1b[0m prior" in text
    assert "Is $5 _more_ than $x^2$?" in text and r"\frac{1" in text
    assert {"$5.00$", "نعم"} & {*drawn}
    assert "$exist$" in text and "_mo$st$ U+5B57" in text and "$ima|ge_ U+56FE" in text
    assert max(map(cell_len, text.splitlines())) < 140
    assert all("U+" in figure.note for name, figure in figures.items() if name != "curves")


def test_chinese_is_drawn_where_a_font_has_it(
    make_results: Make, tmp_path: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = renamed(make_results(seeds=2, clusters=30, bad_ends=False))
    characters = "".join(sorted({char for char in repr((HOSTILE, QUESTION, VALUES)) if "一" <= char <= "鿿"}))
    install_font(characters + "图🍕", tmp_path, monkeypatch)
    figures = draw_figures(results, build_tables(results), tmp_path / "figures")
    text = "\n".join(drawn)
    assert "注 🍕 |" in text and "是红色吗" in text and "_是的_" in text
    assert "U+" not in text
    assert not any(figure.note for figure in figures.values())


def test_the_report_says_which_characters_are_not_drawn(make_results: Make, tmp_path: Path) -> None:
    report = write_report(renamed(make_results(seeds=2, clusters=30, bad_ends=False)), tmp_path).read_text()
    assert "Characters that no font of this machine has are written as their names" in report
    assert [path.name for path in sorted((tmp_path / "figures").iterdir())] == [
        f"{name}.png" for name in ("arms", "costs", "curves", "differences", "samples", "slices")
    ]


def test_plain_studies_are_drawn_in_one_font(make_results: Make, tmp_path: Path) -> None:
    results = make_results(seeds=2, clusters=30)
    results = dataclasses.replace(results, pictures=results.pictures.head(2))
    figures = draw_figures(results, build_tables(results), tmp_path)
    assert {figure.note for figure in figures.values()} == {""}
