"""A small font with chosen characters, as a machine may have one that matplotlib does not bring."""

from __future__ import annotations

from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager


def install_font(characters: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let a test find a system font with a filled square for each character, and return the name of its family.

    The font is forgotten after the test.
    """
    family = f"Toy Sans {characters.encode().hex()[:24]}"
    path = folder / "toy.ttf"
    names = [".notdef", *(f"glyph{place}" for place in range(len(characters)))]
    pen = TTGlyphPen(None)
    for place, point in enumerate(((100, 0), (100, 800), (900, 800), (900, 0))):
        (pen.lineTo if place else pen.moveTo)(point)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(char): name for char, name in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    builder.setupPost()
    builder.save(path)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path)])
    return family
