"""Settings of the Sphinx site: ``sphinx-build -W --keep-going -b html docs OUT``."""

import re
from importlib.metadata import version as installed_version
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

project = "fusion-bench"
author = "The fusion-bench developers"
project_copyright = author
version = release = installed_version("laconv-fusion-bench")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["dollarmath", "tasklist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

smartquotes = False  # "--set" stays as it is typed

html_theme = "furo"
html_title = "fusion-bench"
html_static_path = ["_static"]
html_css_files = ["site.css"]
copybutton_prompt_text = "$ "

# Docstrings are written in Google's style, with single backticks for names.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {
    "exclude-members": "notify"
}  # a function that the docstring of its class lists already

# Formulas become MathML when the site is built, so that reading it needs no network.
html_math_renderer = "mathml"

nitpicky = True
# Types in signatures lead to other projects' pages, which a build without a network cannot look up.
nitpick_ignore_regex = [("py:.*", ".*")]


def setup(app: Any) -> None:
    """Connect the formulas and what is done to docstrings before napoleon reads them (at priority 500)."""
    app.add_html_math_renderer("mathml", (_write_inline_math, None), (_write_block_math, None))
    app.connect("autodoc-process-docstring", _plain_headings, priority=400)


def _write_inline_math(writer: Any, node: nodes.math) -> None:
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _write_block_math(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _plain_headings(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Replace headings such as ``Class attributes:`` by the one that napoleon knows."""
    del app, what, name, obj, options
    lines[:] = ["Attributes:" if re.fullmatch(r"(Class a|A)ttributes\b.*:", line) else line for line in lines]
