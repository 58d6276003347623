"""Texts from outside in figures: what is drawn for a text, and the fonts that have its characters.

Questions, answers, labels and names of splits may hold any character. `Lettering.plain` is the one function that they
pass on their way into a figure. matplotlib reads no formulas in them (`style.canvas`).
"""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.ft2font import FaceFlags
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

BASE_FONT: Final = "DejaVu Sans"
"""The font of all figures; it comes with matplotlib."""

_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_WEIGHTS = (400, 700)
"""Normal text and titles."""
_NEVER_DRAWN = frozenset({"Co", "Cs", "Cn"})
"""Categories of private, half and unassigned characters: a font that has them shows something of its own."""
_VARIATION_SELECTORS = frozenset({*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)})


@dataclass(frozen=True)
class Lettering:
    """The fonts of one figure.

    Attributes:
        families: font families; matplotlib takes each character from the first that has it.
        found: the characters that the fonts after the first one were chosen for.
        missing: the characters that no font of this machine has.
    """

    families: tuple[str, ...] = (BASE_FONT,)
    found: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Lettering:
        """Return the fonts of this machine for ``texts``."""
        wanted = {char for text in texts for char in _drawn(text) if not _in_base(char)}
        left = {char for char in wanted if unicodedata.category(char) not in _NEVER_DRAWN}
        families, found = [BASE_FONT], set[str]()
        with without_font_messages():
            for family, glyphs in _other_fonts() if left else ():
                here = {char for char in left - found if ord(char) in glyphs and _has_ink(family, char)}
                if here:
                    families.append(family)
                    found |= here
                if left == found:
                    break
        return cls(tuple(families), frozenset(found), frozenset(wanted - found))

    def plain(self, text: str) -> str:
        """Return ``text`` as it is drawn: on one line, and without what has no picture.

        Control characters become ``\\x1b``. A character that no font of the figure has becomes its name in brackets
        if it is a symbol (``[pizza]``), else its Unicode number (``U+4E2D``). Characters without width are left out.
        """
        written = "".join(self._written(char) for char in _drawn(text))
        shown = " ".join(written.split())
        # A text of invisible characters alone, such as the label of an arm, must not look like no text at all.
        return shown or " ".join(_number(char) for char in text)

    def fit(self, text: str, letters: int) -> str:
        """Return ``text`` as it is drawn, cut at its end to the width of ``letters`` letters."""
        shown = self.plain(text)
        return cut(shown, _room(shown, letters))

    def wrap(self, text: str, letters: int, lines: int) -> list[str]:
        """Return ``text`` as it is drawn, as at most ``lines`` lines of the width of ``letters`` letters."""
        shown = self.plain(text)
        letters = _room(shown, letters)
        wrapped = wrap(shown, letters)
        if len(wrapped) <= lines:
            return wrapped
        return [*wrapped[: lines - 1], cut(f"{wrapped[lines - 1]} {_ELLIPSIS}", letters)]

    def distinct(self, texts: Sequence[str], letters: int) -> dict[str, str]:
        """Return each text as it is drawn and cut; those that would look the same get their place (``#3``)."""
        shown = [self.fit(text, letters) for text in texts]
        return {
            text: short if shown.count(short) == 1 else f"{cut(short, letters - 5)} #{place}"
            for place, (text, short) in enumerate(zip(texts, shown, strict=True), start=1)
        }

    def note(self, drawn: str) -> str:
        """Return the sentence that a figure needs with the text ``drawn``; empty if its fonts have all characters."""
        written = sorted({self._written(char).strip() for char in self.missing})
        shown = [text for text in written if text in drawn]
        if not shown:
            return ""
        examples = ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")
        return (
            "Characters that no font of this machine has are written as their names or Unicode numbers "
            f"({examples})."
        )

    def _written(self, char: str) -> str:
        if _in_base(char) or char in self.found:
            return char
        name = unicodedata.name(char, "").lower()
        # A blank on each side: numbers in a row stay apart, and a line can break between them.
        return f" [{name}] " if name and unicodedata.category(char) == "So" else f" {_number(char)} "


def cut(text: str, letters: int) -> str:
    """Return ``text``, cut with an ellipsis if it is wider than ``letters`` letters; Chinese letters count twice."""
    if cell_len(text) <= letters:
        return text
    return set_cell_size(text, letters - 1).rstrip() + _ELLIPSIS


def wrap(text: str, letters: int) -> list[str]:
    """Return ``text`` as lines of at most ``letters`` letters; text without blanks breaks anywhere."""
    return [line.plain.rstrip() for line in Text(text).wrap(Console(width=letters), letters)]


def _room(text: str, letters: int) -> int:
    """Return the number of letters of ``text`` that take the room of ``letters`` usual ones; capitals are wider."""
    wide = sum(char.isupper() or char.isdigit() for char in text)
    return letters if 4 * wide < len(text) else int(0.8 * letters)


def _drawn(text: str) -> Iterator[str]:
    """Yield the characters of ``text`` that have a picture, blanks as one kind, control characters written out."""
    for char in unicodedata.normalize("NFC", text):
        if char.isspace():
            yield " "
        elif (category := unicodedata.category(char)) == "Cc":
            yield f"\\x{ord(char):02x}"
        elif category != "Cf" and ord(char) not in _VARIATION_SELECTORS:
            yield char


def _number(char: str) -> str:
    return f"U+{ord(char):04X}"


def _in_base(char: str) -> bool:
    return len(char) > 1 or ord(char) in _glyphs_of_family(BASE_FONT)


@contextmanager
def without_font_messages() -> Iterator[None]:
    """Keep matplotlib from telling about each family that has no bold face."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _other_fonts() -> Iterator[tuple[str, frozenset[int]]]:
    """Yield the families of this machine besides the base, with the characters that they have in every weight."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    # matplotlib remembers the fonts of its first start; fonts installed since then are found here.
    for path in sorted({*font_manager.findSystemFonts()} - known):
        try:
            font_manager.fontManager.addfont(path)
        except (OSError, RuntimeError):
            continue  # not a font that matplotlib can read
    own = mpl.get_data_path()  # fonts of formulas, and one with a frame for every character
    entries = [entry for entry in font_manager.fontManager.ttflist if not entry.fname.startswith(own)]
    # Upright fonts without serifs first, as the base is one.
    entries.sort(key=lambda entry: (entry.style != "normal", "Sans" not in entry.name, entry.name))
    for family in dict.fromkeys(entry.name for entry in entries):
        if "LastResort" not in family.replace(" ", ""):
            yield family, _glyphs_of_family(family)


@functools.cache
def _glyphs_of_family(family: str) -> frozenset[int]:
    """Return the code points that a family has in normal and in bold; none for a font of coloured bitmaps."""
    charmaps = []
    for weight in _WEIGHTS:
        wanted = font_manager.FontProperties(family=[family], weight=weight)
        try:
            font = font_manager.get_font(font_manager.findfont(wanted, fallback_to_default=False))
        except (OSError, RuntimeError, ValueError):
            return frozenset()
        if FaceFlags.SCALABLE not in font.face_flags:
            return frozenset()
        charmaps.append(frozenset(font.get_charmap()))
    return charmaps[0].intersection(*charmaps[1:])


def _has_ink(family: str, char: str) -> bool:
    """Return False for a glyph without a picture, as fonts of coloured symbols have."""
    path = font_manager.findfont(font_manager.FontProperties(family=[family]))
    try:
        font = font_manager.get_font(path)
        font.set_size(12, 72)
        return bool(font.load_char(ord(char)).width)
    except RuntimeError:
        return False
