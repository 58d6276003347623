"""Commands that module packages offer through the entry-point group ``fusion_bench.commands``.

An entry point's name is the command as it is typed, ``convert laconvnet``; its value is a function whose
annotated parameters typer reads. Its package is imported only when the command is asked for, so that
``fusion-bench --help`` stays quick.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import CollisionError

GROUP = "fusion_bench.commands"


class OpenGroup(TyperGroup):
    """A group of commands that packages may add to: its own first, then what is offered under its name."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of its own commands and of those offered."""
        own = super().list_commands(ctx)
        depth = len(words := _words_of(ctx))
        offered = {
            path[depth] for path in offered_commands() if path[:depth] == words and len(path) == depth + 1
        }
        return [*own, *sorted(offered.difference(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name; None if there is none.

        Raises:
            FusionBenchError: an offered one cannot be imported.
        """
        own = super().get_command(ctx, cmd_name)
        point = offered_commands().get((*_words_of(ctx), cmd_name))
        if own is not None or point is None:
            return own
        return _command(point, cmd_name)


@cache
def offered_commands() -> dict[tuple[str, ...], EntryPoint]:
    """Every offered command by its words.

    Raises:
        CollisionError: two packages offer the same command.
    """
    found: dict[tuple[str, ...], EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        words = tuple(point.name.split())
        if words in found:
            raise CollisionError(
                f"two packages offer the command {point.name!r}: {_package(found[words])} and "
                f"{_package(point)}; uninstall one"
            )
        found[words] = point
    return found


def _words_of(ctx: Any) -> tuple[str, ...]:
    """The words typed after the program's name, up to this group."""
    return () if ctx.parent is None else (*_words_of(ctx.parent), ctx.info_name)


def _command(point: EntryPoint, name: str) -> Any:
    try:
        function = point.load()
    except Exception as error:  # importing runs code that is not ours
        raise FusionBenchError(
            f"the command {point.name!r} of {_package(point)} cannot be imported ({error}); put that package "
            "right or uninstall it"
        ) from error
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name=name)(function)
    return typer.main.get_command(app)


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
