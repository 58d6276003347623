"""Who trained the cells of a study, and at which commit of their project: a file in the folder of the study.

It is no part of a cell and decides nothing. It is kept because MLflow can be rebuilt after the commit has changed.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from fusion_bench.errors import FusionBenchError
from fusion_bench.storage import read_json, write_json

FILE: Final = "origins.json"
_SECONDS: Final = 5.0


class Origins:
    """The origins of the cells of a study as tags of MLflow.

    Args:
        file: where they are kept; None keeps none.
        known: what it holds: tags by the id of the cell.
    """

    def __init__(self, file: Path | None, known: Mapping[str, Mapping[str, str]]) -> None:
        self._file, self._known = file, dict(known)

    @classmethod
    def of(cls, folder: Path | None) -> Origins:
        """Return the origins in the folder of a study; a damaged file counts as none."""
        if folder is None:
            return cls(None, {})
        try:
            found = read_json(folder / FILE)
        except (FusionBenchError, OSError):
            found = {}
        known = found if isinstance(found, dict) else {}
        return cls(folder / FILE, {cell: tags for cell, tags in known.items() if isinstance(tags, dict)})

    def tags(self, cell: str) -> dict[str, str]:
        """Return the tags of a cell; empty where nothing is known."""
        return {str(name): str(value) for name, value in self._known.get(cell, {}).items()}

    def add(self, cells: Iterable[str], tags: Mapping[str, str]) -> None:
        """Keep the tags of cells that are trained now."""
        new = {cell: dict(tags) for cell in cells if self._known.get(cell) != tags}
        self._known |= new
        if self._file is not None and new:
            write_json(self._file, self._known)


def origin_here(study: Path) -> dict[str, str]:
    """Return the tags of a cell that is trained now: the user, the study file, and its commit if git tells one."""
    tags = {
        "mlflow.user": _user(),
        "mlflow.source.name": study.name,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": _git(study.parent, "rev-parse", "HEAD"),
        "mlflow.source.git.branch": _git(study.parent, "symbolic-ref", "--short", "HEAD"),
    }
    if tags["mlflow.source.git.commit"]:
        changed = _git(study.parent, "status", "--porcelain", "--untracked-files=no")
        tags["git.changed"] = "true" if changed else "false"
    return {name: value for name, value in tags.items() if value}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return ""


def _git(folder: Path, *arguments: str) -> str:
    """Return what git prints about the repository of a folder; empty without git or a repository."""
    git = shutil.which("git")
    if git is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            [git, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
