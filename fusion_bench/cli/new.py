"""``fusion-bench new``: write a commented start for a fusion module or a study."""

from __future__ import annotations

import json
import os
import re
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from fusion_bench.cli.completion import complete_modules
from fusion_bench.cli.plugin_commands import PluginGroup
from fusion_bench.errors import FusionBenchError

new_app = typer.Typer(cls=PluginGroup, help="Write a commented start: a fusion module or a study.")

_ARMS = "  film: {module: film}\n"
SCHEMA_FILE = "schema.json"
"""The JSON schema beside a study, which the first line of the study names."""


@new_app.command(name="module")
def new_module(
    path: Annotated[Path, typer.Argument(help="The file to write.", metavar="PATH.py")],
) -> None:
    """Write a complete small fusion module, with a comment at each line that you change."""
    _check_free(path, (".py",))
    _write(path, _template("module.py").replace("MyModule", _class_name(path.stem)))
    typer.echo(f"Written: {path}")
    typer.echo(f"Next, check that it keeps the contract: fusion-bench check {shlex.quote(str(path))}")


@new_app.command(name="study")
def new_study(
    path: Annotated[Path, typer.Argument(help="The file to write.", metavar="PATH.yaml")],
    module: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="Also compare this module: a registered name or a file.",
            autocompletion=complete_modules,
        ),
    ] = None,
) -> None:
    """Write a complete small study, with a comment at each line that you change."""
    _check_free(path, (".yaml", ".yml"))
    text = _template("study.yaml").replace("my_study", _study_name(path.stem))
    if module is not None:
        text = text.replace(_ARMS, _ARMS + _arm(module, path))
    _write(path, text)
    typer.echo(f"Written: {path}")
    schema = path.parent / SCHEMA_FILE
    if not schema.exists():
        _write(schema, _schema())
        typer.echo(f"Written: {schema} (editors check and complete the study with it)")
    typer.echo(f"Next, see what it trains: fusion-bench plan {shlex.quote(str(path))}")


def _template(name: str) -> str:
    return (files("fusion_bench.cli") / "templates" / name).read_text(encoding="utf-8")


def _schema() -> str:
    from fusion_bench.spec.catalogue import installed_catalogue  # noqa: PLC0415 - imports pydantic
    from fusion_bench.spec.editor.schema import schema_text  # noqa: PLC0415 - imports torch

    return schema_text(installed_catalogue())


def _write(path: Path, text: str) -> None:
    from fusion_bench.storage import write_text  # noqa: PLC0415 - imports numpy

    write_text(path, text)


def _check_free(path: Path, endings: tuple[str, ...]) -> None:
    """Refuse a path of another kind of file, and one where something lies already.

    Raises:
        FusionBenchError: the path cannot be written.
    """
    if path.suffix not in endings:
        raise FusionBenchError(f"{path} must end in {' or '.join(endings)}; write another name")
    if path.exists() or path.is_symlink():
        raise FusionBenchError(
            f"{path} exists already and is left as it is; write another name, or remove the file"
        )


def _class_name(stem: str) -> str:
    """``my_gate`` -> ``MyGate``; ``MyModule`` for a file whose name gives no class name."""
    words = re.findall(r"[A-Za-z0-9]+", stem)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return name if name.isidentifier() else "MyModule"


def _study_name(stem: str) -> str:
    """The file's name as the name of a folder: letters, digits, '.', '_', '+' and '-', at most 64."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", stem).lstrip("._+-")[:64] or "my_study"


def _arm(module: str, study: Path) -> str:
    """The line of the study file that names the module; a file's path starts at the study's folder.

    Raises:
        FusionBenchError: there is no such module, or the study has an arm for it already.
    """
    from fusion_bench.registries import MODULES  # noqa: PLC0415 - imports torch

    MODULES.load(module)
    file, _, class_name = module.partition(":")
    if not file.endswith(".py"):
        label, written = re.sub(r"\W+", "_", module), module
    else:
        label, written = _study_name(Path(file).stem), Path(os.path.relpath(file, study.parent)).as_posix()
        written += f":{class_name}" if class_name else ""
    if label in {"laconv", "film"}:
        raise FusionBenchError(
            f"the study compares {label} anyway; leave --module out, or rename the module's file"
        )
    return f"  {label}: {{module: {json.dumps(written)}}}\n"
