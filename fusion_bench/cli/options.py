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
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="A database that Optuna's trials are copied to: postgresql://USER@HOST/NAME or sqlite:///FILE.",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; by default a GPU if there is one.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Cells trained at once; by default cores / threads on a CPU, one for each GPU."),
]
PerDevice = Annotated[
    int | None,
    typer.Option(min=1, help="Cells trained at once on each GPU of this host, instead of --workers."),
]
KeepWeights = Annotated[
    bool, typer.Option("--keep-weights", help="Write model.safetensors into the folder of each cell.")
]
Smoke = Annotated[
    bool,
    typer.Option(
        "--smoke", help="Test all steps in a minute or two, at toy sizes and with one deliberate failure."
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="The Ray cluster (auto, HOST:6379); by default one of this host alone."
    ),
]
RayCpus = Annotated[
    float | None, typer.Option(min=0, help="CPUs of each worker on Ray; by default the study's threads.")
]
RayGpus = Annotated[
    float | None, typer.Option(min=0, help="GPUs of each worker on Ray; 0.25 puts four on one GPU.")
]
RayNodeRuns = Annotated[
    str,
    typer.Option(
        metavar="FOLDER", help="The folder of Ray nodes that do not see --runs; by default in ~/.cache."
    ),
]


Against = Annotated[
    Path | None,
    typer.Option(
        "--against",
        metavar="REPORT",
        help="Compare with the arms of a report, such as reports/quickstart, which are not trained again.",
    ),
]


class FailIf(StrEnum):
    """The verdict of a new arm that makes a command end with exit code 3."""

    worse = "worse"


FailIfOption = Annotated[
    FailIf | None,
    typer.Option("--fail-if", help="End with exit code 3 if a new arm is decided to be worse."),
]


class ExecutorName(StrEnum):
    """Where the cells of a run are trained."""

    local = "local"
    ray = "ray"
    slurm = "slurm"


ExecutorOption = Annotated[
    ExecutorName,
    typer.Option(
        "--executor", help="Where cells are trained: on this host, on a Ray cluster, or by jobs of Slurm."
    ),
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
