"""Texts from outside as Markdown: the one place where a report or a note of MLflow escapes them.

Labels, names of splits, versions, error texts and paths may hold any character, also in a published folder that
somebody else made. What these functions return shows the text and starts no HTML, link, picture, table cell or list.
"""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 2000
"""The largest number of letters of one text; of a longer one, the end is shown, where errors say what happened."""

_MARKS = re.compile(r"([\\`*_<>|\[\]#~&$])")
_LINE_START = re.compile(r"^(?:([-+=:])(?=[-=:\s|]|$)|(\d+)([.)])(?=\s|$))")
_NOT_CODE = re.compile(r"[`|\\]")
_REORDERING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c")


def escape(text: str) -> str:
    """Return free text on one line, escaped so that Markdown shows it unchanged."""
    escaped = _MARKS.sub(r"\\\1", one_line(text))
    return _LINE_START.sub(lambda found: f"\\{found[1]}" if found[1] else f"{found[2]}\\{found[3]}", escaped)


def code(name: str) -> str:
    """Return a label as Markdown code; a label that code cannot hold everywhere is escaped instead.

    A backtick ends code, and inside a table a bar or a backslash means something in code too.
    """
    shown = one_line(name)
    return escape(shown) if not shown or _NOT_CODE.search(shown) else f"`{shown}`"


def code_block(text: str) -> str:
    """Return text on one line as a block of code."""
    shown = one_line(text)
    fence = "`" * (max([2, *(len(run) for run in re.findall("`+", shown))]) + 1)
    return f"{fence}\n{shown}\n{fence}"


def one_line(text: str) -> str:
    """Return a text on one line, without what would hide or reorder its neighbours.

    Control characters become ``\\x1b``, marks that turn the direction of writing are left out, and halves of a
    character become a question mark. Of a text of more than 2,000 letters, the end is kept.
    """
    shown = " ".join("".join(map(_shown, text[-_LONGEST:])).split())
    cut = len(text) > _LONGEST or len(shown) > _LONGEST
    return f"... {shown[-_LONGEST:]}" if cut else shown


def _shown(char: str) -> str:
    if char.isspace():
        return " "
    category = unicodedata.category(char)
    if category == "Cc":
        return f"\\x{ord(char):02x}"
    if category == "Cs":
        return "?"
    return "" if char in _REORDERING else char
