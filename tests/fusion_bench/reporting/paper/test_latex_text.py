"""Texts from outside as LaTeX: what is shown is what was given, in ASCII that every engine reads."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_bench.reporting.paper.latex_text import latex, latex_number
from fusion_bench.reporting.tables.formatting import count, p_value, percent, points
from fusion_bench.reporting.tables.markdown_text import one_line
from read_latex import check_syntax, shown_text

HOSTILE = [
    r"\input{/etc/passwd}",
    r"100% & $5 #1 _x^2 ~{}",
    r"\\[2cm] * [x]",
    "a--b---c",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{GREEK SMALL LETTER ALPHA}=0.5",
    "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve",
    "\N{CJK UNIFIED IDEOGRAPH-4E2D} \N{SLICE OF PIZZA} a\x1bb",
    'say "x" `y` <z> |w|',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_is_ascii_and_has_no_open_command(text: str) -> None:
    written = latex(text)
    assert written.isascii()
    assert "\\input" not in written and "\\\\" not in written
    pytest.importorskip("pylatexenc", reason="pylatexenc, which parses LaTeX, is not installed")
    check_syntax(f"\\begin{{tabular}}{{l}}{written} & {written} \\\\ {written}\\end{{tabular}}")


def test_special_characters_and_hyphens() -> None:
    assert latex("late_concat & 5%") == r"late\_concat \& 5\%"
    assert latex("a-b") == "a-b"
    assert latex("a--b") == "a-{}-b"
    assert latex("[x] *") == "{[}x{]} {*}"  # after the end of a row, both would be its arguments
    assert latex("\N{CJK UNIFIED IDEOGRAPH-4E2D}") == "U+4E2D"
    assert latex("\N{LATIN SMALL LETTER I WITH DIAERESIS}") == r"\"{\i}"


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_characters="'\"`^")))
def test_what_is_shown_is_what_was_given(text: str) -> None:
    pytest.importorskip("pylatexenc", reason="pylatexenc, which parses LaTeX, is not installed")
    assert latex(text).isascii()
    shown = unicodedata.normalize("NFC", one_line(text))
    kept = "".join(char for char in shown if not latex(char).startswith("U+"))
    assert "".join(shown_text(latex(kept)).split()) == "".join(kept.split())


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (points(-0.0123), "$-1.2$"),
        (points(0.0123), "$+1.2$"),
        (percent(0.5), "$50.0$"),
        (p_value(0.0001), "$<0.001$"),
        (count(1_180_000), r"$1.18$\,M"),
        (percent(float("nan")), "--"),
    ],
)
def test_numbers_are_those_of_the_report(text: str, written: str) -> None:
    assert latex_number(text) == written
