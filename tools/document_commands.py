"""``docs/reference/commands.md``: every command with its arguments and options, from the command line itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from fusion_bench.cli.main import app

_HEAD = """\
# Commands

Written by `python tools/document.py` from the command line; do not edit.

`fusion-bench COMMAND --help` prints the same; `fusion-bench --version` prints the version, and
`fusion-bench --install-completion` lets the Tab key complete commands, options, modules and data sets.

| exit code | meaning |
|--:|:--|
| 0 | done; after `run`, every cell that is compared has a result |
| 1 | `run`: a planned cell has no result; `check`: a check failed; `data verify`: a problem was found |
| 2 | a mistake that the user can put right, in one message; `compare`, `run --against`: the arms cannot be paired |
| 3 | `--fail-if worse`: a new arm is worse than the reference ([Compare reports](../how-to/compare_reports.md)) |
| 130 | `run` was stopped with Ctrl-C; finished cells are kept |

A cell has no result if it failed, is stale, or is trained by another run; the last line of `run` counts them. A
failed trial of a search does not change the exit code, since the search chose among the others; the last line counts
these trials too. `report` ends with 0 once the report is written, whatever it lacks.

Packages may add commands: see [Architecture](../explanation/architecture.md#entry-points-for-other-packages).
The program `python -m fusion_bench.study.cell` trains one exported cell without an installation: see
[Run on other machines](../how-to/run_elsewhere.md) and [on a cluster](../cluster.md).
"""


def commands_page() -> str:
    """Return the page as Markdown: one section for each command, groups resolved."""
    root: Any = typer.main.get_command(app)
    context = root.context_class(root, info_name="fusion-bench")
    sections = [_section(name, command, inner) for name, command, inner in walk_commands(root, context)]
    return "\n".join([_HEAD, *sections])


def walk_commands(group: Any, context: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield ``fusion-bench data verify``, its command and its context, for every command that is no group."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = command.context_class(command, info_name=name, parent=context)
        if hasattr(command, "list_commands"):
            yield from walk_commands(command, inner)
        else:
            yield inner.command_path, command, inner


def _section(path: str, command: Any, context: Any) -> str:
    shown = [item for item in command.params if not getattr(item, "hidden", False) and item.name != "help"]
    arguments = [_value_name(item) for item in shown if _is_argument(item)]
    usage = " ".join([path, *arguments, *(["[OPTIONS]"] if len(arguments) < len(shown) else [])])
    text = " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())
    parts = [f"## `{path}`", text, f"```text\n{usage}\n```"]
    if shown:
        rows = "\n".join(_row(item, context) for item in shown)
        parts.append(f"| argument or option | meaning | default |\n|:--|:--|:--|\n{rows}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(item: Any, context: Any) -> str:
    name = _value_name(item) if _is_argument(item) else _option(item)
    default = item.get_default(context, call=False)
    shown = "" if default is None or default is False or default == () else f"`{_written(default)}`"
    if item.required:
        shown = "required"
    text = " ".join((getattr(item, "help", None) or "").split()).replace("<", "\\<")
    return f"| `{name}` | {text} | {shown} |"


def _is_argument(item: Any) -> bool:
    return bool(item.param_type_name == "argument")


def _option(item: Any) -> str:
    names = ", ".join(item.opts)
    return names if item.is_flag else f"{names} {_value_name(item)}"


def _value_name(item: Any) -> str:
    """The word that stands for a value; typer's own changes with its version."""
    return str(item.metavar or item.name.upper())


def _written(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple | list) else str(default)
