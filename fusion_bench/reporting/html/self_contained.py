"""The parts that the HTML pages of the project share: their templates, style and script, and the hashes of these two.

A page is one file that needs no network. Its policy allows the style and the script of this package by their hashes,
pictures inside the file, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

_PARTS = "fusion_bench.reporting.html"


def page_environment(package: str) -> Environment:
    """Return the environment of the templates of a package, which escapes what is outside text.

    Its filters ``markdown`` and ``inline`` show Markdown, in which HTML stays text.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    jinja = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters["markdown"] = lambda text: Markup(_rendered(markdown, text))  # noqa: S704 - html is off
    jinja.filters["inline"] = lambda text: Markup(markdown.renderInline(text))  # noqa: S704 - html is off
    return jinja


def style_and_script() -> dict[str, str]:
    """Return ``style`` and ``script``, the text of each, and ``style_hash`` and ``script_hash`` for the policy."""
    style, script = _part("report.css"), _part("report.js")
    return {
        "style": Markup(style),  # noqa: S704 - a file of this package
        "script": Markup(script),  # noqa: S704 - a file of this package
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }


def _rendered(markdown: MarkdownIt, text: str) -> str:
    """Return Markdown as HTML.

    The side of a column is a class, because the policy of the page allows no style. A heading without a text is no
    heading.
    """
    tokens = markdown.parse(text)
    for token, inner, end in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if (token.type, end.type) == ("th_open", "th_close") and not inner.content:
            token.tag = end.tag = "td"
    for token in tokens:
        if side := token.attrs.pop("style", None):
            token.attrs["class"] = str(side).removeprefix("text-align:")
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _part(name: str) -> str:
    return files(_PARTS).joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
