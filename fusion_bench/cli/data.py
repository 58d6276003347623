"""The commands ``fusion-bench data``: make, verify and show a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_bench.cli.completion import complete_datasets

data_app = typer.Typer(help="Make a built-in data set; verify or show any data set.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        help="A data set (fusion-bench list datasets), package.module:Class or file.py[:Class].",
        metavar="NAME",
        autocompletion=complete_datasets,
    ),
]
Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="The folder of its files.")]
SettingOptions = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the data set: --set seed=3"),
]


@data_app.command(name="verify")
def verify_command(
    name: Name,
    root: Root,
    settings: SettingOptions = None,
    manifest: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the checksums of all files.")
    ] = None,
) -> None:
    """Check the files, their schema, the published counts and every image; exit code 1 if a problem is found."""
    from fusion_bench.cli.data_files import verify_data  # noqa: PLC0415 - imports torch

    verify_data(name, root, tuple(settings or ()), manifest)


@data_app.command(name="make")
def make_command(
    name: Name,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to make.")],
    settings: SettingOptions = None,
) -> None:
    """Make a built-in data set."""
    from fusion_bench.cli.data_files import make_data  # noqa: PLC0415 - imports torch

    make_data(name, out, tuple(settings or ()))


@data_app.command(name="show")
def show_command(
    name: Name,
    root: Root,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The image to write.")],
    settings: SettingOptions = None,
    split: Annotated[str | None, typer.Option(help="The split; by default the first evaluate split.")] = None,
    count: Annotated[
        int, typer.Option(min=1, max=100, help="Number of samples, spread over the split.")
    ] = 12,
) -> None:
    """Draw samples: image, text and answer, with boxes and masks if there are any."""
    from fusion_bench.cli.data_files import show_data  # noqa: PLC0415 - imports torch

    show_data(name, root, tuple(settings or ()), out, split=split, count=count)
