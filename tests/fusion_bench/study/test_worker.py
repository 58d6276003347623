"""The program of a worker: what the processes that make data import with it."""

from __future__ import annotations

import subprocess
import sys

_AS_A_SPAWNED_PROCESS = """
import runpy, sys
runpy.run_module("fusion_bench.study.worker", run_name="__mp_main__", alter_sys=True)
print("torch" in sys.modules, "fusion_bench.cells.worker" in sys.modules)
"""


def test_a_process_that_makes_data_does_not_import_what_trains() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _AS_A_SPAWNED_PROCESS], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["False", "False"]
