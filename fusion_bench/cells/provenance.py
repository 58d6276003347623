"""The origin of a cell's numbers: digests of the source, the data and the weights, versions and device.

A cell whose sources differ from today's is *stale*: it is shown with the reason and never mixed with other cells.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import timm
import torch

from fusion_bench.cells.result import Circumstances, Provenance, SourceDigests
from fusion_bench.cells.source_digest import Scope, developed_imports, reachable_digest, source_digest
from fusion_bench.registries import TASKS
from fusion_bench.registry import Target
from fusion_bench.samples.dataset import DataSet
from fusion_bench.storage import digest
from fusion_bench.training.config import CellConfig

_NUMERIC_ROOMS = tuple(
    f"fusion_bench.{room}" for room in ("contract", "samples", "data", "encoders", "tasks", "training")
)
_SKIPPED = frozenset(  # the weights that they make or name have a digest of their own
    {"fusion_bench.training.pretext.task", "fusion_bench.training.pretext.weights"}
)


def numerics_digest(config: CellConfig) -> str:
    """Return the digest of the harness's source that decides a cell's numbers.

    It covers the training loop, the loading of data, the data set adapter, the text encoder, the task, and all that
    they import from the rooms that compute numbers and from the packages of the adapter and the encoder.
    """
    adapter: type[DataSet] = config.data.adapter.target.load()
    starts = (
        "fusion_bench.training.loop",
        "fusion_bench.training.load_cell_data",
        _module(config.data.adapter.target),
        _module(config.text.target),
        _module(TASKS.resolve(adapter.task(config.data.task))),
    )
    foreign = [start.partition(".")[0] for start in starts if not start.startswith("fusion_bench.")]
    return reachable_digest(starts, Scope((*_NUMERIC_ROOMS, *foreign), _SKIPPED))


def module_digest(target: Target) -> str:
    """Return the digest of a fusion module's source and of all that it imports from its own package.

    For a module file, it covers what the file imports from outside of installed packages (`developed_imports`).
    """
    if target.source is not None:
        text = source_digest([target.source])
        starts = developed_imports(target.source)
        scope = Scope(tuple(sorted({name.partition(".")[0] for name in starts})))
        return digest([text, reachable_digest(starts, scope)]) if starts else text
    start = _module(target)
    return reachable_digest((start,), Scope((start.partition(".")[0],)))


def _module(target: Target) -> str:
    return target.reference.partition(":")[0]


def current_sources(config: CellConfig) -> SourceDigests:
    """Return the digests of the source code that would train a cell today."""
    return SourceDigests(module_digest(config.arm.target), numerics_digest(config))


def current_provenance(
    config: CellConfig,
    device: str,
    *,
    manifest: str,
    weights: str,
    start: str,
    files: Mapping[str, str] | None = None,
    weights_file: str = "",
) -> Provenance:
    """Return everything that is recorded beside an outcome.

    Args:
        config: what the cell was asked.
        device: torch's name of the device that it ran on.
        manifest: SHA-256 of the data set's manifest.
        weights: SHA-256 of the backbone's initial weights.
        start: SHA-256 of the weights that the cell started from; empty for one trained from scratch.
        files: the digests of the data set's files, by name.
        weights_file: SHA-256 of the file of the backbone's initial weights; empty without one.
    """
    kind = torch.device(device)
    sources = current_sources(config)
    return Provenance(
        module=sources.module,
        numerics=sources.numerics,
        torch=torch.__version__,
        timm=timm.__version__,
        device_kind=kind.type,
        data=manifest,
        weights=weights,
        device=device_name(device),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        numpy=np.__version__,
        platform=platform.platform(terse=True),
        start=start,
        files=dict(files or {}),
        weights_file=weights_file,
    )


def current_circumstances(device: str, manifest: str) -> Circumstances:
    """Return what a cell that is trained here would have in common with others; see `Circumstances`."""
    return Circumstances(torch.__version__, timm.__version__, torch.device(device).type, manifest)


def device_name(device: str) -> str:
    """Return the name of a GPU, or of this machine's processor."""
    kind = torch.device(device)
    return torch.cuda.get_device_name(kind) if kind.type == "cuda" else processor()


def processor() -> str:
    """Return the name of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def changed_sources(recorded: Provenance, today: SourceDigests) -> tuple[str, ...]:
    """Return the names of the digests that differ between a recorded provenance and today's source code."""
    return tuple(
        item.name for item in fields(today) if getattr(recorded, item.name) != getattr(today, item.name)
    )
