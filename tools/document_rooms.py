"""``docs/explanation/rooms.svg``: the layers of the harness, from the import rule in ``pyproject.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

_CONTRACT = "Rooms: imports run one way"
_PACKAGE = "fusion_bench."
_SKIPPED = frozenset({"__main__"})
_CAPTIONS = {
    "cli": "parses, calls, prints",
    "reporting": "report, figures, MLflow, screen",
    "checking": "checks of the module contract",
    "bench": "benchmarks",
    "calibration": "how often verdicts err",
    "comparing": "arms of several reports",
    "api": "the public Python functions",
    "explain": "the words that an arm reads",
    "results": "outcomes to tidy tables",
    "study": "plan, run, search, journal",
    "cells": "run one cell, workers",
    "spec": "the study file to a Study",
    "training": "model, loop, seeds",
    "registries": "names of components",
    "encoders": "backbone, text, cache",
    "data": "one adapter per data set",
    "tasks": "head, loss, metrics",
    "efficiency": "parameters, latency",
    "statistics": "intervals, Holm, ranks",
    "contract": "what a module is",
    "registry": "name to class",
    "samples": "splits, metrics, boxes",
    "storage": "whole files, locks",
    "serialisation": "dataclasses to JSON",
    "foreign": "code of others",
    "errors": "error classes",
}
_WIDTH, _BOX, _GAP, _ROW, _MARGIN, _SIDE = 1120, 46, 12, 76, 24, 190
_STYLE = """
    text { font-family: system-ui, sans-serif; fill: #1f2933; }
    .room { font-size: 15px; font-weight: 600; } .note { font-size: 12px; fill: #52606d; }
    .box { fill: #ffffff; stroke: #7b8794; } .own { fill: #fff8e1; stroke: #b7791f; }
    .arrow { stroke: #52606d; stroke-width: 1.5; fill: none; marker-end: url(#head); }
"""


def rooms_drawing(root: Path) -> str:
    """Return the drawing as SVG text: one row for each layer, the command line at the top.

    Args:
        root: the folder that holds ``pyproject.toml``.
    """
    by_layer = layers(root / "pyproject.toml")
    height = 2 * _MARGIN + _ROW * len(by_layer) - (_ROW - _BOX)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        "<title>The rooms of fusion_bench: each layer imports from the layers below it</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#52606d"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{height}" rx="10" fill="#f5f7fa"/>',
    ]
    inner = _WIDTH - 2 * _MARGIN - _SIDE
    for layer, rooms in enumerate(by_layer):
        top = _MARGIN + _ROW * layer
        width = min(230.0, (inner - _GAP * (len(rooms) - 1)) / len(rooms))
        left = _MARGIN + (inner - width * len(rooms) - _GAP * (len(rooms) - 1)) / 2
        for place, room in enumerate(rooms):
            parts += _box(left + place * (width + _GAP), top, width, room, _CAPTIONS.get(room, ""), "box")
        if layer + 1 < len(by_layer):
            middle, bottom = _MARGIN + inner / 2, top + _BOX
            parts.append(f'<path class="arrow" d="M{middle} {bottom + 3} V{bottom + _ROW - _BOX - 3}"/>')
    parts += _modules(by_layer)
    return "\n".join([*parts, "</svg>", ""])


def layers(project: Path) -> list[list[str]]:
    """Return the names of the rooms of each layer, the top layer first.

    Raises:
        KeyError: the project has no import rule of layers with the expected name.
    """
    contracts = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    named = {contract["name"]: contract for contract in contracts}
    by_layer = [
        [room.strip().removeprefix(_PACKAGE) for room in layer.split("|")]
        for layer in named[_CONTRACT]["layers"]
    ]
    kept = [[room for room in layer if room not in _SKIPPED] for layer in by_layer]
    # The arrow of the module collection comes from the right, so the contract stands there.
    return [sorted(layer, key=lambda room: room == "contract") for layer in kept if layer]


def _box(left: float, top: float, width: float, room: str, caption: str, kind: str) -> list[str]:
    middle = left + width / 2
    return [
        f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{_BOX}" rx="6"/>',
        f'<text class="room" x="{middle:.1f}" y="{top + 20:.1f}" text-anchor="middle">{escape(room)}</text>',
        f'<text class="note" x="{middle:.1f}" y="{top + 37:.1f}" text-anchor="middle">{escape(caption)}</text>',
    ]


def _modules(by_layer: list[list[str]]) -> list[str]:
    """Return the box of the module collection: it imports the contract and the errors, and nothing imports it."""
    row = next(number for number, rooms in enumerate(by_layer) if "contract" in rooms)
    left, top = _WIDTH - _MARGIN - _SIDE + 24, _MARGIN + _ROW * max(0, row - 2)
    bottom = _MARGIN + _ROW * row + _BOX / 2
    inner_right = _WIDTH - _MARGIN - _SIDE
    rooms = by_layer[row]
    width = min(230.0, (inner_right - _MARGIN - _GAP * (len(rooms) - 1)) / len(rooms))
    end = _MARGIN + (inner_right - _MARGIN + width * len(rooms) + _GAP * (len(rooms) - 1)) / 2
    middle = left + (_SIDE - 24) / 2
    return [
        *_box(left, top, _SIDE - 24, "fusion_modules", "one module a file", "own"),
        f'<path class="arrow" d="M{middle:.1f} {top + _BOX + 3:.1f} V{bottom:.1f} H{end + 4:.1f}"/>',
        f'<text class="note" x="{middle:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">imports the contract</text>',
        f'<text class="note" x="{middle:.1f}" y="{bottom + 33:.1f}" text-anchor="middle">and the errors</text>',
    ]
