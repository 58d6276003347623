"""The commands ``fusion-bench data``: make, verify and show a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_bench.cli.completion import complete_datasets
from fusion_bench.cli.plugin_commands import PluginGroup

data_app = typer.Typer(cls=PluginGroup, help="Make a built-in data set; verify or show any data set.")

Source = Annotated[
    str,
    typer.Argument(
        help="A data set (fusion-bench list datasets), package.module:Class, file.py[:Class], or a study file, "
        "whose data set it is then.",
        metavar="NAME",
        autocompletion=complete_datasets,
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="The folder of its files; by default the one that the study or FUSION_BENCH_DATA_NAME names, that of an "
        "installed package that carries them, or, for a built-in data set, the one in the runs folder.",
    ),
]
RunsFolder = Annotated[Path, typer.Option("--runs", help="The folder in which runs keep built-in data sets.")]
SettingOptions = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the data set: --set seed=3"),
]


@data_app.command(name="verify")
def verify_command(
    name: Source,
    root: Root = None,
    settings: SettingOptions = None,
    manifest: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the checksums of all files.")
    ] = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Check the files, their schema, the published counts and every image; exit code 1 if a problem is found."""
    _check_study(name)
    from fusion_bench.cli.data.files import DataPlace, verify_data  # noqa: PLC0415 - imports torch

    verify_data(DataPlace(name, tuple(settings or ()), root, runs), manifest)


@data_app.command(name="make")
def make_command(
    name: Source,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to make.")],
    settings: SettingOptions = None,
) -> None:
    """Make a built-in data set."""
    _check_study(name)
    from fusion_bench.cli.data.files import DataPlace, make_data  # noqa: PLC0415 - imports torch

    make_data(DataPlace(name, tuple(settings or ()), out))


@data_app.command(name="show")
def show_command(
    name: Source,
    root: Root = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="The image to write; by default NAME-SPLIT.png, here."),
    ] = None,
    settings: SettingOptions = None,
    split: Annotated[str | None, typer.Option(help="The split; by default the first evaluate split.")] = None,
    count: Annotated[
        int, typer.Option(min=1, max=100, help="Number of samples, spread over the split.")
    ] = 12,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Draw samples: image, text and answer, with boxes and masks if there are any."""
    _check_study(name)
    from fusion_bench.cli.data.files import DataPlace, show_data  # noqa: PLC0415 - imports torch

    show_data(DataPlace(name, tuple(settings or ()), root, runs), out, split=split, count=count)


def _check_study(name: str) -> None:
    """Refuse a study file that cannot be read before torch is imported, which takes seconds."""
    from fusion_bench.spec.load import check_keys, is_study_file  # noqa: PLC0415 - imports pydantic

    if is_study_file(name):
        check_keys(Path(name))
