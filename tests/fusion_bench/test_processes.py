from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from fusion_bench.processes import ProcessWatch, group_bytes

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
    with ProcessWatch() as one:
        held = b"x" * 200_000_000
        large = one.peak_bytes()
        del held
    with ProcessWatch() as other:
        small = other.peak_bytes()
    assert one.peak_bytes() == large
    assert large - small > 150e6


def test_a_watch_keeps_evenly_spaced_looks_of_any_length_of_time() -> None:
    now = [0.0]
    watch = ProcessWatch(lambda: 7, clock=lambda: now[0])
    for second in range(2000):
        now[0] = float(second)
        watch.look()
    looks = watch.looks()
    assert 60 <= len(looks) <= 120
    assert len({after.seconds - before.seconds for before, after in pairwise(looks)}) == 1
    assert looks[-1].seconds > 1900
    assert {look.gpu_bytes for look in looks} == {7}
    assert all(look.cores >= 0 for look in looks)
