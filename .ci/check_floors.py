"""Checks that every package is installed in the lowest version that ``pyproject.toml`` allows.

``uv pip install --resolution lowest-direct -e ".[test]"`` installs these versions. Where another package needs a
higher one, the lowest version that is declared cannot be installed and is never tested. This program names it and
ends with status 1.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def untested_floors(root: Path) -> list[str]:
    """Return one sentence for each declared lower bound that is not the installed version."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    found = []
    for requirement in map(Requirement, declared):
        floors = [Version(bound.version) for bound in requirement.specifier if bound.operator == ">="]
        installed = Version(version(requirement.name))
        # 2.3 stands for 2.3.0 and the first fixes of it, since some projects never published 2.3.0.
        if floors and installed.release[: len(floors[0].release)] != floors[0].release:
            found.append(
                f"{requirement.name} {installed} is installed, not {floors[0]}: raise its lower bound"
            )
    return found


if __name__ == "__main__":
    problems = untested_floors(ROOT)
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    sys.exit(bool(problems))
