"""A machine on which a cell is trained and most packages of a study are missing."""

from __future__ import annotations

import os
from pathlib import Path

BARE = """
import sys
from importlib.machinery import PathFinder

ABSENT = {"optuna", "mlflow", "pydantic", "ruamel", "typer", "rich", "scipy", "statsmodels", "seaborn", "matplotlib",
          "sqlalchemy", "transformers"}


class Present(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else super().find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Present
"""
"""What Python runs first on the bare machine: those packages are not there."""


def bare_environment(tmp_path: Path, *more: str) -> dict[str, str]:
    """Return the environment of a Python on the bare machine; ``tmp_path`` gets a folder for it.

    Args:
        tmp_path: an empty folder.
        more: packages that are missing too.
    """
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(f"{BARE}ABSENT.update({more!r})\n")
    root = Path(__file__).parents[2]
    paths = [site, root, root / "modules", root / "tests" / "support"]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
