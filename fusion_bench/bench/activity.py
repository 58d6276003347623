"""What a GPU does within an epoch of training: the share of time in which it works, and what waits for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import CellConfig
from fusion_bench.training.fit.step_done import StepDone
from fusion_bench.training.loop import Trainer

_WORK = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
_CALLS = frozenset({"cuda_runtime", "cuda_driver"})


@dataclass(frozen=True)
class EpochActivity:
    """What a GPU does in the measured steps of an epoch.

    Attributes:
        busy: share of the time, from the first to the last piece of its work, in which the GPU works.
        waits: how often the host waited for the GPU, by the name of the call or copy. A copy from or to memory that
            is not pinned counts, because the host waits for it; one from or to pinned memory does not.
    """

    busy: float
    waits: Mapping[str, int]


def epoch_activity(
    config: CellConfig, data: CellData, device: torch.device, *, skipped: int
) -> EpochActivity:
    """Train one epoch and return the activity of the GPU in its steps after the first ``skipped``."""
    profiler = profile(activities=[ProfilerActivity.CUDA])

    def note(done: StepDone) -> None:
        if done.phase != "training":
            return
        if done.step == skipped:
            torch.cuda.synchronize(device)
            profiler.start()
        elif done.step == done.steps:
            profiler.stop()

    Trainer(config, data, device, lambda _: None, on_step=note).train()
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    return activity_of(events)


def activity_of(events: Sequence[Mapping[str, Any]]) -> EpochActivity:
    """Return the activity in the events of a trace of torch's profiler (``cat``, ``name``, ``ts`` and ``dur`` in us).

    What the host does after its last launch, such as waiting for the end, does not count. Without any work of a GPU
    the share is 0.
    """
    complete = [event for event in events if event.get("ph", "X") == "X" and "dur" in event]
    work = [event for event in complete if event.get("cat") in _WORK]
    calls = [event for event in complete if event.get("cat") in _CALLS]
    last_launch = max((float(call["ts"]) for call in calls if _launches(call["name"])), default=0.0)
    waits = Counter(
        str(call["name"])
        for call in calls
        if float(call["ts"]) < last_launch and ("Synchronize" in call["name"] or call["name"] == "cudaMemcpy")
    )
    waits.update(str(copy["name"]) for copy in work if "Pageable" in copy["name"])
    spans = sorted((float(event["ts"]), float(event["ts"]) + float(event["dur"])) for event in work)
    if not spans:
        return EpochActivity(0.0, dict(waits))
    whole = max(end for _, end in spans) - spans[0][0]
    return EpochActivity(_covered(spans) / whole, dict(sorted(waits.items())))


def _launches(call: str) -> bool:
    return "Launch" in call or "Memcpy" in call or "Memset" in call


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of spans ``(start, end)`` in the order of their starts."""
    total, until = 0.0, float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
