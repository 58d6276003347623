"""Reads Markdown as a viewer does, for tests: what is shown, and what a text from outside must never start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token


@dataclass(frozen=True)
class Seen:
    """The content of a page.

    Attributes:
        text: every text that is shown, headings and code included.
        html: pieces of HTML.
        targets: where links and pictures point.
        headings: the texts of the headings.
        rows: the number of cells of each row of each table.
    """

    text: str
    html: tuple[str, ...]
    targets: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[int, ...]


def read_markdown(page: str) -> Seen:
    """Return the content of a page of GitHub's Markdown."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page)
    flat = list(_flat(tokens))
    headings = [
        tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"
    ]
    rows: list[int] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append(0)
        elif token.type in {"td_open", "th_open"}:
            rows[-1] += 1
    return Seen(
        text="\n".join(token.content for token in flat if token.type in {"text", "code_inline", "fence"}),
        html=tuple(token.content.strip() for token in flat if token.type in {"html_block", "html_inline"}),
        targets=tuple(
            str(token.attrs.get("href", token.attrs.get("src")))
            for token in flat
            if token.type in {"link_open", "image"}
        ),
        headings=tuple(headings),
        rows=tuple(rows),
    )


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or [])
