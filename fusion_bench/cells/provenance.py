"""Where a number comes from: hashes of the source, the data and the weights, versions and device.

A cell whose provenance differs from today's is *stale*: it is shown, and never mixed silently with others.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from fusion_bench.cells.source_digest import Scope, reachable_digest, source_digest
from fusion_bench.registries import TASKS
from fusion_bench.registry import Target
from fusion_bench.samples.dataset import DataSet
from fusion_bench.training.config import CellConfig

_NUMERIC_ROOMS = tuple(
    f"fusion_bench.{room}" for room in ("contract", "samples", "data", "encoders", "tasks", "training")
)
_SKIPPED = frozenset(
    {"fusion_bench.training.pretext_weights"}  # what it makes is recorded by its own hash
)
_SHARED = ("numerics", "data", "torch", "timm", "device_kind")


def numerics_digest(config: CellConfig) -> str:
    """Digest of the harness's own source that decides a cell's numbers: what its data, text and loop import."""
    adapter: type[DataSet] = config.data.adapter.target.load()
    starts = [
        "fusion_bench.training.loop",
        _module(config.data.adapter.target),
        _module(config.text.target),
        _module(TASKS.resolve(adapter.task(config.data.task))),
    ]
    foreign = [start.partition(".")[0] for start in starts if not start.startswith("fusion_bench.")]
    return reachable_digest(starts, Scope((*_NUMERIC_ROOMS, *foreign), _SKIPPED))


def module_digest(target: Target) -> str:
    """Digest of a fusion module's source and of every file of its own package that it imports, in turn."""
    if target.source is not None:
        return source_digest([target.source])
    start = _module(target)
    return reachable_digest([start], Scope((start.partition(".")[0],)))


def _module(target: Target) -> str:
    return target.reference.partition(":")[0]


def expected_provenance(config: CellConfig) -> dict[str, Any]:
    """What today's source says of a cell; whatever else is recorded must only be equal among cells."""
    return {"module": module_digest(config.arm.target), "numerics": numerics_digest(config)}


def full_provenance(config: CellConfig, device: str, *, manifest: str, weights: str) -> dict[str, Any]:
    """Everything that is recorded beside an outcome."""
    kind = torch.device(device)
    name = torch.cuda.get_device_name(kind) if kind.type == "cuda" else processor()
    return {
        **expected_provenance(config),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "device_kind": kind.type,
        "data": manifest,
        "weights": weights,
        "device": name,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(terse=True),
    }


def processor() -> str:
    """The name of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def differences(recorded: Mapping[str, Any], today: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of what differs between a recorded provenance and today's."""
    return tuple(name for name, value in today.items() if recorded.get(name) != value)


def fingerprint(recorded: Mapping[str, Any]) -> str:
    """What must be equal for cells to be compared, in words."""
    return ", ".join(f"{name} {recorded.get(name)}" for name in _SHARED)
