"""The share of time in which a GPU works, and the waits, from traces by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fusion_bench.bench.activity import EpochActivity, activity_of, epoch_activity
from fusion_bench.bench.step import ARMS
from fusion_bench.bench.synthetic import StepSize, synthetic_config, synthetic_data


def event(cat: str, name: str, start: float, duration: float) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "ts": start, "dur": duration}


def test_work_that_overlaps_counts_once() -> None:
    """10 to 30 and 50 to 60 of the 50 us from 10 to 60."""
    events = [
        event("kernel", "b", 15, 15),
        event("kernel", "a", 10, 10),
        event("gpu_memcpy", "Memcpy DtoD (Device -> Device)", 50, 10),
        event("cpu_op", "aten::add", 0, 100),
        {"ph": "M", "name": "process_name"},
    ]
    assert activity_of(events) == EpochActivity(30 / 50, {})


def test_waits_are_counted_by_name_until_the_last_launch() -> None:
    events = [
        event("cuda_runtime", "cudaStreamSynchronize", 5, 2),
        event("cuda_runtime", "cudaStreamSynchronize", 8, 2),
        event("cuda_runtime", "cudaEventQuery", 9, 1),
        event("cuda_driver", "cuLaunchKernel", 11, 1),
        event("cuda_runtime", "cudaGraphLaunch", 20, 1),
        event("cuda_runtime", "cudaDeviceSynchronize", 30, 10),  # the profiler's own, at the end
        event("kernel", "a", 12, 20),
    ]
    assert activity_of(events) == EpochActivity(1.0, {"cudaStreamSynchronize": 2})


def test_a_copy_waits_if_its_memory_is_not_pinned() -> None:
    events = [
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pinned)", 0, 1),
        event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 1, 1),
        event("gpu_memcpy", "Memcpy HtoD (Pageable -> Device)", 2, 1),
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 3, 1),
    ]
    assert activity_of(events).waits == {
        "Memcpy DtoH (Device -> Pageable)": 1,
        "Memcpy HtoD (Pageable -> Device)": 1,
    }


def test_a_trace_without_work_of_a_gpu_is_never_busy() -> None:
    assert activity_of([event("cpu_op", "aten::add", 0, 100)]) == EpochActivity(0.0, {})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_epoch_waits_for_a_gpu() -> None:
    size = StepSize(batch=8, map_shape=(8, 2, 3), width=16, depth=1, words=3, vocabulary=5, answers=3)
    found = epoch_activity(
        synthetic_config(ARMS["film"], size), synthetic_data(size, 60), torch.device("cuda"), skipped=2
    )
    assert found.waits == {}
    assert 0 < found.busy <= 1
