from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_bench.processes import PeakMemory, group_bytes

HOLD = "held = b'x' * 200_000_000; print(len(held), flush=True); input()"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's memory")
def test_the_memory_of_a_group_is_that_of_all_its_processes() -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"
    program = [sys.executable, "-c", child]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "200000000\n"
        assert 200e6 < group_bytes(process.pid) < 400e6
        process.communicate("\n")
    assert group_bytes(process.pid) == 0
    assert group_bytes(os.getpgrp()) > 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's memory")
def test_the_peak_of_a_cell_is_not_that_of_an_earlier_one() -> None:
    with PeakMemory() as one:
        held = b"x" * 200_000_000
        large = one.seen()
        del held
    with PeakMemory() as other:
        small = other.seen()
    assert one.seen() == large
    assert large - small > 150e6
