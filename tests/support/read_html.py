"""Reads an HTML page of the project: its elements, what it loads or starts, and its tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_EMPTY = {"meta", "input", "img", "br", "hr"}


@dataclass
class SeenPage(HTMLParser):
    """What a page holds.

    Attributes:
        tags: every element that was opened.
        problems: elements closed out of order or left open, and two elements with one id.
        loaded: the values of attributes that load or start something.
        texts: the text inside each ``script``, ``style``, ``title``, ``h1`` and table cell, by element.
        rows: the texts of the cells of each table row.
    """

    tags: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._ids: set[str] = set()

    @classmethod
    def of(cls, text: str) -> SeenPage:
        """Read a page."""
        seen = cls()
        seen.feed(text)
        seen.close()
        seen.problems += [f"<{name}> is left open" for name in seen._open]
        return seen

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in _EMPTY:
            self._open.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in {
                "src",
                "href",
                "style",
                "srcset",
                "action",
                "data",
                "xlink:href",
            }:
                self.loaded.append(f"{name}={value}")
            if name == "id":
                self.problems += [f"two elements have the id {value}"] if value in self._ids else []
                self._ids.add(str(value))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag in {"script", "style"}:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.problems.append(f"</{tag}> closes nothing; open: {self._open[-3:]}")
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"script", "style"}:
            self.scripts[-1] += data
            return
        self.shown.append(data)
        if any(name in {"td", "th"} for name in self._open):
            self.rows[-1][-1] += data.strip()
