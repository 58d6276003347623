"""Texts from outside are shown by Markdown as they are, and start nothing."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_bench.reporting.tables.markdown_text import code, code_block, escape, one_line
from read_markdown import read_markdown

TEXTS = [
    "plain text, 2.15.0 (R&D) -- 100 %",
    "x | <b>*y* [z](http://evil.example) ![p](/etc/passwd) <https://evil.example>",
    "`one` ``two`` ```three",
    "\\| \\` \\\\ \\<b>",
    "a|b\\|c`|`",
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "12) item",
    "> quote",
    "---",
    "===",
    "    indented",
    "~~~",
    "<script>alert(1)</script><!-- -->",
    "&lt;b&gt; &amp; &#60;",
    "$x$ _a_ __b__ ~~c~~",
    "[a]: http://evil.example",
    ":--|--:",
    "trailing \\",
    "",
]


def shown(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("write", [escape, code])
@pytest.mark.parametrize("text", TEXTS)
def test_every_text_is_shown_as_it_is(text: str, write: object) -> None:
    written = write(text)  # type: ignore[operator]
    for page, around in (
        (written, ""),
        (f"- {written}", ""),
        (f"> {written}", ""),
        (f"a `code` {written} `code` b", "a code code b"),
        (f"| a | b |\n|:--|:--|\n| {written} | `x` |", "a b x"),
    ):
        seen = read_markdown(page)
        assert (seen.html, seen.targets, seen.headings) == ((), (), ()), page
        assert seen.rows in {(), (2, 2)}, page
        letters = sorted("".join((shown(text) + around).split()))
        assert sorted("".join(seen.text.split())) == letters, page


def test_a_label_is_code_where_code_can_hold_it() -> None:
    assert code("head.pool=max, size=[1, 3] <b>") == "`head.pool=max, size=[1, 3] <b>`"
    assert code("a`b") == r"a\`b"
    assert code("a|b") == r"a\|b"


@pytest.mark.parametrize("text", ["run x.yaml", "a\n```\n# b", "````` <b>"])
def test_a_block_of_code_ends_where_it_should(text: str) -> None:
    seen = read_markdown(f"before\n\n{code_block(text)}\n\nafter")
    assert (seen.html, seen.headings) == ((), ())
    assert [line for line in seen.text.splitlines() if line] == ["before", shown(text), "after"]


def test_what_hides_or_reorders_text_is_written_out_or_left_out() -> None:
    assert one_line("a\x00\x1b[31m\tb\r\nc\u2028d") == r"a\x00\x1b[31m b c d"
    assert one_line("abc\u202edef\u2066\u200f") == "abcdef"
    assert one_line("half \ud83d") == "half ?"
    persian = "\u0645\u06cc\u200c\u062e"
    assert one_line(persian) == persian, "a non-joiner belongs to the word"


def test_of_a_very_long_text_the_end_is_kept() -> None:
    assert one_line("x" * 5_000_000 + " the cause") == "... " + "x" * 1990 + " the cause"
    assert len(escape("\x00" * 100_000)) < 5000


def test_random_texts_start_nothing() -> None:
    draw = np.random.default_rng(0)
    parts = [*"`|\\<>[]()!*_#~&$\n\t -+=:.1a", "http://e.x", "<b>", "![", "](", "```", "\\|", "``"]
    for _ in range(1500):
        text = "".join(draw.choice(parts, draw.integers(1, 13)))
        first, second = escape(text), code(text)
        page = f"# {first}\n\n> {first}\n\n- {second} and {first} `x`\n\n| a | b |\n|:--|:--|\n| {first} | {second} |"
        seen = read_markdown(page)
        assert (seen.html, seen.targets, len(seen.headings), seen.rows) == ((), (), 1, (2, 2)), repr(text)
