"""Commands of installed packages, from the entry-point group ``fusion_bench.commands``.

The name of an entry point is the command as a user types it (``convert laconvnet``); its value is a function whose
annotated parameters typer reads. The package is imported only when the command is used, so that
``fusion-bench --help`` stays fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from fusion_bench.errors import FusionBenchError
from fusion_bench.foreign import importing
from fusion_bench.registry import BrokenOfferError, origin_of

GROUP = "fusion_bench.commands"
_UNCUT = 10_000  # characters


class PluginGroup(TyperGroup):
    """A group of commands to which packages add: first its own commands, then those of packages."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the group's name; without any, print its help and end with exit code 2."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)

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

        A command of a package that cannot be used says so when it is called, and in the help of its group.
        """
        own = super().get_command(ctx, cmd_name)
        points = package_commands().get((*_words_of(ctx), cmd_name))
        if own is not None or points is None:
            return own
        return _command(points, cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with the first sentence of its help, which is never cut."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(limit=_UNCUT)) for name, command in commands.items()]
            )


@cache
def package_commands() -> dict[tuple[str, ...], tuple[EntryPoint, ...]]:
    """Return the commands of all packages, each by the tuple of its words; several where packages disagree."""
    commands: dict[tuple[str, ...], tuple[EntryPoint, ...]] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        words = tuple(point.name.split())
        commands[words] = (*commands.get(words, ()), point)
    return commands


def _words_of(ctx: Any) -> tuple[str, ...]:
    """Return the words that the user typed after the name of the program, up to this group."""
    return () if ctx.parent is None else (*_words_of(ctx.parent), ctx.info_name)


def _command(points: Sequence[EntryPoint], name: str) -> Any:
    """Return the command of a package; one that tells the fault where it cannot be used."""
    try:
        return _imported(points, name)
    except FusionBenchError as error:
        return _click_command(name, _refusing(error), ignore_unknown_options=True, allow_extra_args=True)


def _imported(points: Sequence[EntryPoint], name: str) -> Any:
    """Import a command.

    Raises:
        BrokenOfferError: two packages have the command, or its package cannot be imported.
    """
    point, *others = points
    if others:
        packages = " and ".join(map(origin_of, points))
        raise BrokenOfferError(
            f"two packages have the command {point.name!r}: {packages}; uninstall one of them"
        )
    module = point.value.partition(":")[0]
    try:
        with importing(module, module, f"cannot import {point.value!r}"):
            return _click_command(name, point.load())
    except FusionBenchError as error:
        raise BrokenOfferError(
            f"the command {point.name!r} of {origin_of(point)} cannot be imported ({error}); repair or uninstall "
            "that package"
        ) from error


def _click_command(name: str, function: Callable[..., Any], **settings: bool) -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name=name, context_settings=settings)(function)
    return typer.main.get_command(app)


def _refusing(error: FusionBenchError) -> Callable[[], None]:
    def refuse() -> None:
        raise error

    refuse.__doc__ = f"Cannot be used: {error}"
    return refuse
