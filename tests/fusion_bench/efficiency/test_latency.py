"""The timed calls, and the median over them."""

from __future__ import annotations

import pytest
import torch

from fusion_bench.efficiency.latency import latency

CPU = torch.device("cpu")


def test_warm_up_is_called_but_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still but for the calls: two slow ones first, then 1, 5 and 3 milliseconds."""
    clock = 0.0
    durations = iter([9.0, 9.0, 0.001, 0.005, 0.003])

    def call() -> None:
        nonlocal clock
        clock += next(durations)

    monkeypatch.setattr("time.perf_counter", lambda: clock)
    measured = latency(call, CPU, warmup=2, repeats=3)
    assert measured.milliseconds == pytest.approx(3.0)
    assert next(durations, None) is None


def test_a_cpu_keeps_no_count_of_memory() -> None:
    assert latency(lambda: None, CPU, repeats=1).peak_memory is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_reports_the_memory_of_the_call() -> None:
    device = torch.device("cuda")
    measured = latency(lambda: torch.empty(1 << 20, dtype=torch.uint8, device=device), device, repeats=2)
    assert measured.peak_memory == 1 << 20
