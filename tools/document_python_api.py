"""``docs/reference/python_api.md``: what ``import fusion_bench`` offers, and the classes that extensions derive from.

The page names the objects; Sphinx reads their docstrings when the site is built.
"""

from __future__ import annotations

import fusion_bench

_HEAD = """\
# Python API

Written by `python tools/document.py`; do not edit. The text of each entry is its docstring.
"""
_EXTENSIONS = (
    (
        "What a fusion module, a network or a text encoder gets, gives and declares",
        "fusion_bench.contract",
    ),
    ("What a data set declares and returns", "fusion_bench.samples.dataset"),
    ("Splits, samples and batches", "fusion_bench.samples.split"),
    ("Boxes, masks and resizing", "fusion_bench.samples.geometry"),
    ("Metrics", "fusion_bench.samples.metric"),
    ("What a task gives", "fusion_bench.tasks.task"),
)
"""Heading and module of each part that other packages derive from."""


def python_api_page() -> str:
    """Return the page as Markdown with one autodoc directive for each object or module."""
    public = sorted(getattr(fusion_bench, "__all__", ()))
    parts = [_HEAD]
    if public:
        parts.append("## `fusion_bench`\n")
        parts += [_directive(_kind(name), f"fusion_bench.{name}") for name in public]
    parts += [f"## {heading}\n\n{_directive('automodule', module)}" for heading, module in _EXTENSIONS]
    return "\n".join(parts)


def _kind(name: str) -> str:
    return "autoclass" if isinstance(getattr(fusion_bench, name), type) else "autofunction"


def _directive(kind: str, name: str) -> str:
    options = "" if kind == "autofunction" else "   :members:\n"
    return f"```{{eval-rst}}\n.. {kind}:: {name}\n{options}```\n"
