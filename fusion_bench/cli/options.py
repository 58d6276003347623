"""Arguments and options that several commands share, and the check of a study file before torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

StudyArgument = Annotated[Path, typer.Argument(help="The study file.", metavar="STUDY.yaml")]
Runs = Annotated[Path, typer.Option("--runs", help="The folder of cells, caches and reports.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key: --set train.epochs=3")
]
DataRoots = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="NAME=FOLDER", help="The folder of the files of a data set."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Cells trained at once; by default cores / threads on a CPU, 1 on a GPU."),
]
KeepWeights = Annotated[
    bool, typer.Option("--keep-weights", help="Write model.safetensors into the folder of each cell.")
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="A database that Optuna's trials are copied to: postgresql://USER@HOST/NAME or sqlite:///FILE.",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; by default a GPU if there is one.")]


class ExecutorName(StrEnum):
    """Where the cells of a run are trained."""

    local = "local"
    slurm = "slurm"


ExecutorOption = Annotated[
    ExecutorName, typer.Option(help="Where cells are trained: on this machine, or by jobs of Slurm.")
]
SlurmOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm", metavar="KEY=VALUE", help="An option of sbatch for --executor slurm: partition=gpu"
    ),
]


def check_study(study: Path, overrides: Sequence[str] | None, *, may_be_folder: bool = True) -> None:
    """Refuse a study file that cannot be read or has an unknown key before torch is imported, which takes seconds.

    Args:
        study: the study file; or a folder, such as that of a study that has run, which is left to the command.
        overrides: ``KEY=VALUE`` texts.
        may_be_folder: False where the command takes a file alone.
    """
    from fusion_bench.spec.load import check_keys  # noqa: PLC0415 - imports pydantic

    if not (may_be_folder and study.is_dir()):
        check_keys(study, tuple(overrides or ()))
