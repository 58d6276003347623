"""Finds the folder of a report: a published one, or that of a study that has run."""

from __future__ import annotations

from pathlib import Path

from fusion_bench.errors import FusionBenchError

_WRITE = (
    "name the folder of a published report, such as reports/quickstart, or of a study that has run, such as "
    "runs/studies/quickstart"
)


def published_folder(folder: Path) -> Path:
    """Return the folder that holds ``study.json``: the one given, or ``report`` inside a study's folder.

    Raises:
        FusionBenchError: the folder is neither of the two, or has no report yet.
    """
    for candidate in (folder, folder / "report"):
        if (candidate / "study.json").is_file():
            return candidate
    if not folder.exists():
        raise FusionBenchError(f"{folder} does not exist; {_WRITE}")
    if not folder.is_dir():
        raise FusionBenchError(f"{folder} is not a folder; {_WRITE}")
    if (folder / "plan.json").is_file():
        raise FusionBenchError(f"{folder} has no report yet; write it with: fusion-bench report {folder}")
    raise FusionBenchError(f"{folder} holds no report (it has no study.json); {_WRITE}")
