"""Commands of installed packages, from the entry-point group ``fusion_bench.commands``.

The name of an entry point is the command as a user types it (``convert laconvnet``); its value is a function whose
annotated parameters typer reads. The package is imported only when the command is used, so that
``fusion-bench --help`` stays fast.
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


class PluginGroup(TyperGroup):
    """A group of commands to which packages add: first its own commands, then those of packages."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of its own commands and of the commands of packages."""
        own = super().list_commands(ctx)
        depth = len(words := _words_of(ctx))
        of_packages = {
            path[depth] for path in package_commands() if path[:depth] == words and len(path) == depth + 1
        }
        return [*own, *sorted(of_packages.difference(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name; None if there is none.

        Raises:
            FusionBenchError: the command of a package cannot be imported.
        """
        own = super().get_command(ctx, cmd_name)
        point = package_commands().get((*_words_of(ctx), cmd_name))
        if own is not None or point is None:
            return own
        return _command(point, cmd_name)


@cache
def package_commands() -> dict[tuple[str, ...], EntryPoint]:
    """Return the commands of all packages, each by the tuple of its words.

    Raises:
        CollisionError: two packages have the same command.
    """
    commands: dict[tuple[str, ...], EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        words = tuple(point.name.split())
        if words in commands:
            raise CollisionError(
                f"two packages have the command {point.name!r}: {_package(commands[words])} and "
                f"{_package(point)}; uninstall one of them"
            )
        commands[words] = point
    return commands


def _words_of(ctx: Any) -> tuple[str, ...]:
    """Return the words that the user typed after the name of the program, up to this group."""
    return () if ctx.parent is None else (*_words_of(ctx.parent), ctx.info_name)


def _command(point: EntryPoint, name: str) -> Any:
    try:
        function = point.load()
    except Exception as error:  # the import runs code of the package
        raise FusionBenchError(
            f"the command {point.name!r} of {_package(point)} cannot be imported ({error}); repair or "
            "uninstall that package"
        ) from error
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name=name)(function)
    return typer.main.get_command(app)


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
