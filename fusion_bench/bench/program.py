"""Runs a Python program of this project and says in one sentence why it failed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from fusion_bench.errors import FusionBenchError


def run_python(arguments: Sequence[str], failed: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the standard output of ``python ARGUMENTS``.

    Args:
        arguments: what follows the name of the interpreter, which is the one of this process.
        failed: what failed, as the beginning of a sentence.
        environment: the environment of the process; that of this process if None.

    Raises:
        FusionBenchError: the exit code is not 0; the last line of its standard error ends the sentence.
    """
    ran = subprocess.run(  # noqa: S603 - our own interpreter, no shell
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
        raise FusionBenchError(f"{failed}: {said[-1]}")
    return ran.stdout
