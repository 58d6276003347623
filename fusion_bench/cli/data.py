"""``fusion-bench data``: make, verify and show a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(help="Data sets: make a built-in one, verify or show any.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A data set (fusion-bench list datasets).", metavar="NAME")]
Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="Where its files are.")]
SettingOptions = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting: --set seed=3")
]


@data_app.command()
def verify_command(
    name: Name,
    root: Root,
    settings: SettingOptions = None,
    manifest: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the checksum of every file.")
    ] = None,
) -> None:
    """Check files, schema, counts as published and every image; exit code 1 if something is wrong."""
    from fusion_bench.cli.data_files import verify_data  # noqa: PLC0415 - imports torch

    verify_data(name, root, tuple(settings or ()), manifest)


@data_app.command()
def make_command(
    name: Name,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make.")],
    settings: SettingOptions = None,
) -> None:
    """Make a built-in data set."""
    from fusion_bench.cli.data_files import make_data  # noqa: PLC0415 - imports torch

    make_data(name, out, tuple(settings or ()))


@data_app.command()
def show_command(
    name: Name,
    root: Root,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The sheet to write.")],
    settings: SettingOptions = None,
    split: Annotated[str | None, typer.Option(help="Which split; the first that judges if left out.")] = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="Samples, spread over the split.")] = 12,
) -> None:
    """Draw samples: picture, text and answer, boxes and masks where there are any."""
    from fusion_bench.cli.data_files import show_data  # noqa: PLC0415 - imports torch

    show_data(name, root, tuple(settings or ()), out, split=split, count=count)
