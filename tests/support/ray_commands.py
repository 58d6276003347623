"""Checks a command of Ray against its own help, in another process: Ray reads the environment at its import alone."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Sequence

_RUN = "from ray.scripts.scripts import cli; cli()"


@functools.cache
def _help(name: str) -> str:
    command = [sys.executable, "-c", _RUN, name, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def check_ray(name: str, arguments: Sequence[str]) -> None:
    """Fail unless Ray has the command and each of the options."""
    options = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
    assert [option for option in options if option not in _help(name)] == []
