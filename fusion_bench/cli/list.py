"""The implementation of ``fusion-bench list``: the components that a study can use, as a table or as JSON."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table

from fusion_bench.contract import FusionModule, VisionLanguageNetwork
from fusion_bench.errors import FusionBenchError
from fusion_bench.registries import DATASETS, MODULES, NETWORKS, TEXT_ENCODERS
from fusion_bench.registry import Entry, Registry, did_you_mean
from fusion_bench.samples.dataset import DataSet

_LISTENS = {
    "words": "word-level",
    "sentence": "sentence-level",
    "both": "words and sentence",
    "nothing": "nothing",
}
_SHORT = frozenset({"name", "kind", "listens", "position_code", "task", "version"})


@dataclass(frozen=True)
class ModuleRow:
    """A module, network or control.

    Attributes:
        name: its registered name.
        kind: ``module``, ``network`` or ``control``.
        summary: the first line of its docstring.
        citation: its paper.
        listens: its language input: ``word-level``, ``sentence-level``, ``words and sentence`` or ``nothing``.
        position_code: the position code that it adds itself.
        origin: the package that offers it.
    """

    name: str
    kind: str
    summary: str
    citation: str
    listens: str
    position_code: str
    origin: str


@dataclass(frozen=True)
class DataSetRow:
    """A data set; ``files`` is "makes its own" for a built-in one, else the address where its files are published."""

    name: str
    task: str
    version: str
    summary: str
    metrics: str
    files: str
    origin: str


@dataclass(frozen=True)
class TextEncoderRow:
    """A text encoder."""

    name: str
    summary: str
    origin: str


ListRow: TypeAlias = ModuleRow | DataSetRow | TextEncoderRow


def list_kind(kind: str, *, as_json: bool) -> None:
    """Print all components of one kind.

    Args:
        kind: ``modules`` (networks and controls too), ``networks``, ``datasets`` or ``text-encoders``.
        as_json: print a JSON list instead of a table.

    Raises:
        FusionBenchError: the kind does not exist, or two packages offer the same name.
    """
    kinds: Mapping[str, Callable[[], list[ListRow]]] = {
        "modules": lambda: [*_rows(MODULES, _module_row), *_rows(NETWORKS, _network_row)],
        "networks": lambda: _rows(NETWORKS, _network_row),
        "datasets": lambda: _rows(DATASETS, _dataset_row),
        "text-encoders": lambda: _rows(TEXT_ENCODERS, _text_encoder_row),
    }
    if kind not in kinds:
        raise FusionBenchError(
            f"cannot list {kind!r}{did_you_mean(kind, kinds)}; write one of {', '.join(kinds)}"
        )
    rows = kinds[kind]()
    if as_json:
        Console(soft_wrap=True).print_json(json.dumps([asdict(row) for row in rows]))
        return
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 160)  # a pipe or a file needs no line breaks
    console.print(_table(rows) if rows else f"No {kind} are registered.")


def list_modules(as_json: bool) -> None:
    """Print all modules, networks and controls."""
    list_kind("modules", as_json=as_json)


def _rows(registry: Registry[Any], row: Callable[[Entry, type[Any]], ListRow]) -> list[ListRow]:
    """Return one row per registered name; the error of a class that cannot be imported names its package."""
    rows = []
    for entry in registry.entries().values():
        try:
            cls = entry.target.load()
        except Exception as error:  # the import runs code of the package
            raise FusionBenchError(
                f"the {registry.kind} {entry.name!r} of {entry.origin} cannot be imported: {error}"
            ) from error
        rows.append(row(entry, cls))
    return rows


def _module_row(entry: Entry, cls: type[FusionModule]) -> ModuleRow:
    control = cls.reads != {"image", "language"} or cls.sentence_at_head or not cls.trainable
    return ModuleRow(
        name=entry.name,
        kind="control" if control else "module",
        summary=_summary(cls),
        citation=str(cls.citation),
        listens=_LISTENS[cls.listens],
        position_code=cls.position_code,
        origin=entry.origin,
    )


def _network_row(entry: Entry, cls: type[VisionLanguageNetwork]) -> ModuleRow:
    return ModuleRow(entry.name, "network", _summary(cls), str(cls.citation), "", "", entry.origin)


def _dataset_row(entry: Entry, cls: type[DataSet]) -> DataSetRow:
    files = "makes its own" if cls.built_in else cls.homepage
    several = len(cls.tasks) > 1
    metrics = "; ".join(
        f"{task}: {', '.join(names)}" if several else ", ".join(names) for task, names in cls.tasks.items()
    )
    return DataSetRow(
        entry.name, ", ".join(cls.tasks), cls.version, _summary(cls), metrics, files, entry.origin
    )


def _text_encoder_row(entry: Entry, cls: type[Any]) -> TextEncoderRow:
    return TextEncoderRow(entry.name, _summary(cls), entry.origin)


def _summary(cls: type[Any]) -> str:
    """Return the first line of the docstring of a class."""
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


def _table(rows: list[ListRow]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for item in fields(rows[0]):
        table.add_column(item.name.replace("_", " "), overflow="fold", no_wrap=item.name in _SHORT)
    for row in rows:
        table.add_row(*(str(value) for value in asdict(row).values()))
    return table
