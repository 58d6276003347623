"""``docs/reference/modules.md``: every registered module with its formula, its paper and what it costs."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tabulate import tabulate
from torch.random import fork_rng

from fusion_bench.contract import Citation, FusionModule, Language, VisionLanguageNetwork
from fusion_bench.efficiency.cost import cost_of
from fusion_bench.errors import FusionBenchError
from fusion_bench.registries import MODULES, NETWORKS
from fusion_bench.registry import Registry

VISUAL, LANGUAGE, HEIGHT, WIDTH, WORDS = 64, 128, 8, 12, 12
"""The one size at which everything is counted: channels of the map and of the words, positions, words."""

_HEAD = f"""\
# Modules

Written by `python tools/document.py` from what is registered; do not edit.

Parameters and multiply-adds are those of one copy with its defaults, on a map of {VISUAL} channels and
{HEIGHT} x {WIDTH} positions and {WORDS} words of {LANGUAGE} channels. Counted are matrix products, convolutions,
attention and Fourier transforms of one sample; elementwise work, norms and softmax are not. The width is the
setting that `budget.match` may choose.
"""
_LISTENS = {"both": "words and sentence"}


def modules_page(modules: Registry[FusionModule] = MODULES, networks: Registry[Any] = NETWORKS) -> str:
    """Return the page as Markdown.

    Raises:
        FusionBenchError: a registered class cannot be imported or constructed.
    """
    built = {name: _built(name, entry.target.load()) for name, entry in modules.entries().items()}
    parts = [_HEAD, _overview(built)]
    parts += [_section(name, module) for name, module in built.items()]
    if networks.entries():
        loaded = {name: entry.target.load() for name, entry in networks.entries().items()}
        parts += [_networks(loaded)]
    return "\n".join(parts)


def _built(name: str, cls: type[FusionModule]) -> FusionModule:
    try:
        with fork_rng(devices=[]):
            return cls(VISUAL, LANGUAGE)
    except Exception as error:  # its constructor is not ours
        raise FusionBenchError(f"the module {name!r} cannot be made at its defaults: {error}") from error


def _overview(built: Mapping[str, FusionModule]) -> str:
    rows = [
        [
            f"[`{name}`](#{name})",
            _summary(type(module)),
            str(module.citation),
            _LISTENS.get(module.listens, module.listens),
            *_cost(module),
        ]
        for name, module in built.items()
    ]
    return _table(["module", "what it is", "paper", "language input", "parameters", "multiply-adds"], rows, 4)


_INSIDE = "inside the backbone; behind a frozen one it is a post-hoc adaptation, and reports say so"


def _section(name: str, module: FusionModule) -> str:
    cls = type(module)
    parameters, operations = _cost(module)
    width = module.width
    knob = (
        "none" if width is None else f"`{width.argument}`, multiples of {width.step} from {width.minimum} on"
    )
    facts = {
        "Paper": _paper(cls.citation),
        "Class": f"`{cls.__module__}:{cls.__qualname__}`",
        "Language input": _LISTENS.get(module.listens, module.listens),
        "Position code": module.position_code,
        **({"In its paper": _INSIDE} if module.modulates_backbone else {}),
        "Reads": " and ".join(sorted(module.reads)) or "nothing",
        "Trained": "yes" if module.trainable else "no",
        "Width": knob,
        "Defaults": _defaults(cls),
        "Parameters": parameters,
        "Multiply-adds": operations,
    }
    formula = _formula(cls)
    shown = f"```text\n{formula}\n```\n\n" if formula else ""
    listed = "\n".join(f"- {fact}: {value}" for fact, value in facts.items())
    return f"## {name}\n\n{_summary(cls)}\n\n{shown}{listed}\n"


def _networks(networks: Mapping[str, type[VisionLanguageNetwork]]) -> str:
    rows = [
        [f"`{name}`", _summary(cls), _paper(cls.citation), _defaults(cls)] for name, cls in networks.items()
    ]
    table = _table(["network", "what it is", "paper", "defaults"], rows, 4)
    return f"## End-to-end networks\n\nThese stand on no backbone and in no slot.\n\n{table}"


def _cost(module: FusionModule) -> tuple[str, str]:
    sentence = torch.empty(1, LANGUAGE)
    language = Language(torch.empty(1, WORDS, LANGUAGE), torch.ones(1, WORDS, dtype=torch.bool), sentence)
    cost = cost_of(module, torch.empty(1, VISUAL, HEIGHT, WIDTH), language)
    return f"{cost.parameters:,}", f"{cost.multiply_adds:,}"


def _summary(cls: type[Any]) -> str:
    """The first line of the class's docstring."""
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


def _formula(cls: type[Any]) -> str:
    """The indented blocks of the text that describes the paper: of the class's file, or of its base's."""
    for base in cls.__mro__:
        module = sys.modules.get(base.__module__)
        if module is None or not issubclass(base, FusionModule | torch.nn.Module) or base is FusionModule:
            continue
        text = inspect.cleandoc(module.__doc__ or "") if not base.__module__.startswith("torch") else ""
        blocks = re.findall(r"(?:^|\n)((?:    .*(?:\n|$)|\n(?=    ))+)", text)
        if blocks:
            return "\n\n".join(textwrap.dedent(block).strip("\n") for block in blocks)
    return ""


def _defaults(cls: type[Any]) -> str:
    """Every setting with its default, as a study file writes them."""
    given = inspect.signature(cls.__init__).parameters.values()
    settings = [item for item in given if item.kind is inspect.Parameter.KEYWORD_ONLY]
    return ", ".join(f"`{item.name}: {_written(item.default)}`" for item in settings) or "no settings"


def _written(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_written, value))}]"
    return str(value)


def _paper(citation: Citation) -> str:
    title = f"[{citation.title}]({citation.url})" if citation.url else citation.title
    return f"{citation.authors}, {title}, {citation.venue} {citation.year}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table whose first ``left`` columns are words."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    sides = ["left" if place < left else "right" for place in range(len(heads))]
    table = tabulate(cells, headers=list(heads), tablefmt="pipe", colalign=sides, disable_numparse=True)
    return f"{table}\n"
