r"""Texts from outside as LaTeX: the one place where the files for a paper escape them.

The result is ASCII and needs no package, so it compiles with every engine and every font encoding. A letter with an
accent becomes the accent's command (``\'{e}``), a Greek letter its formula; other characters are written as their
Unicode numbers (``U+4E2D``).
"""

from __future__ import annotations

import re
import unicodedata

from fusion_bench.reporting.tables.formatting import DASH, MINUS
from fusion_bench.reporting.tables.markdown_text import one_line

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    # An opening bracket or a star after the end of a row would be read as an argument of that end.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    '"': "''",
    "`": r"\`{}",
    DASH: "--",
    "\N{EM DASH}": "---",
    MINUS: r"\ensuremath{-}",
    "\N{MULTIPLICATION SIGN}": r"\ensuremath{\times}",
    "\N{PLUS-MINUS SIGN}": r"\ensuremath{\pm}",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{LATIN SMALL LETTER SHARP S}": r"\ss{}",
    "\N{LATIN SMALL LETTER O WITH STROKE}": r"\o{}",
    "\N{LATIN CAPITAL LETTER O WITH STROKE}": r"\O{}",
    "\N{LATIN SMALL LETTER AE}": r"\ae{}",
    "\N{LATIN CAPITAL LETTER AE}": r"\AE{}",
    "\N{LATIN SMALL LETTER L WITH STROKE}": r"\l{}",
    "\N{LATIN CAPITAL LETTER L WITH STROKE}": r"\L{}",
}
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING MACRON}": "=",
    "\N{COMBINING DOT ABOVE}": ".",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING BREVE}": "u",
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING CEDILLA}": "c",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H",
}
_HYPHENS = re.compile(r"-(?=-)")
_GREEK = re.compile(
    r"GREEK (?:SMALL LETTER (ALPHA|BETA|GAMMA|DELTA|EPSILON|ZETA|ETA|THETA|IOTA|KAPPA|MU|NU|XI|PI|RHO|SIGMA|TAU|"
    r"UPSILON|PHI|CHI|PSI|OMEGA)|CAPITAL LETTER (GAMMA|DELTA|THETA|XI|PI|SIGMA|UPSILON|PHI|PSI|OMEGA))"
)


def latex(text: str) -> str:
    """Return free text on one line, escaped so that LaTeX shows it unchanged."""
    shown = unicodedata.normalize("NFC", one_line(text))
    # Two hyphens in a row would become a dash.
    return "-{}".join("".join(map(_written, part)) for part in _HYPHENS.split(shown))


def latex_number(text: str) -> str:
    """Return a number as a report writes it: a true minus sign, ``<0.001`` and thousands ``1.18 M`` included."""
    if text == DASH:
        return latex(text)
    number, _, unit = text.replace(MINUS, "-").partition(" ")
    return f"${number}$" + (f"\\,{unit}" if unit else "")


def _written(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if char.isascii():
        return char
    apart = unicodedata.normalize("NFD", char)
    if len(apart) == 2 and apart[0].isascii() and apart[0].isalpha() and apart[1] in _ACCENTS:
        base = {"i": r"\i", "j": r"\j"}.get(apart[0], apart[0])  # an accent replaces the dot
        return f"\\{_ACCENTS[apart[1]]}{{{base}}}"
    if found := _GREEK.fullmatch(unicodedata.name(char, "")):
        name = found[1].lower() if found[1] else found[2].capitalize()
        return rf"\ensuremath{{\{name}}}"
    return f"U+{ord(char):04X}"
