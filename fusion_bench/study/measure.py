"""The cost of each arm: parameters, multiply-adds, and latency measured while nothing else runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.provenance import current_sources, processor
from fusion_bench.cells.result import ArmCosts
from fusion_bench.efficiency.latency import latency
from fusion_bench.errors import FusionBenchError
from fusion_bench.serialisation import from_json, to_json
from fusion_bench.spec.arms import Arm
from fusion_bench.storage import digest, read_json, write_json
from fusion_bench.study.cell_status import cell_statuses
from fusion_bench.study.plan import PlannedCell, confirm_cells
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.inputs import make_pretext
from fusion_bench.training.load_cell_data import CellDataCache
from fusion_bench.training.loop import build_model
from fusion_bench.training.paths import RunPaths

_LOG = logging.getLogger(__name__)
LATENCY_BATCH = 32
_WARMUP, _REPEATS = 3, 15


@dataclass(frozen=True)
class Measured:
    """The measured cost of an arm.

    Attributes:
        costs: parameters and multiply-adds.
        latency_ms: median milliseconds of a forward pass of `LATENCY_BATCH` samples.
        device: the name of the processor or GPU on which the latency was measured.
    """

    costs: ArmCosts
    latency_ms: float
    device: str


def measure_arms(
    arms: Sequence[Arm], seeds: Sequence[int], paths: RunPaths, file: Path
) -> Mapping[str, Measured]:
    """Return the cost of each arm by label; measurements in ``file`` of the same arm, source and device are reused.

    An arm without a finished cell has no entry, since running it might kill this process.
    """
    kept = _kept(file)
    cache, device = CellDataCache(paths), torch.device(paths.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    measured: dict[str, Measured] = {}
    statuses = cell_statuses(confirm_cells(arms, seeds), paths)
    for number, arm in enumerate(arms, 1):
        paths.notify("measuring the cost of arms", number, len(arms))
        done = [item.cell for item in statuses if item.cell.arm == arm.label and item.state == "done"]
        if not done:
            continue
        # The data decide the size of the vocabulary, and so the cost around the fusion modules.
        data = cell_folder(paths.runs, done[0].id).provenance().data
        key = digest([arm.config.id, to_json(current_sources(arm.config)), data, name, torch.__version__])
        if key not in kept:
            found = _measure(done[0], cache, device, name)
            if found is None:
                continue
            kept[key] = found
            write_json(file, to_json(kept))
        measured[arm.label] = kept[key]
    return measured


@dataclass(frozen=True)
class _Measurements:
    kept: Mapping[str, Measured]


def _kept(file: Path) -> dict[str, Measured]:
    """Return the measurements in a file; if one cannot be read, all are made again."""
    try:
        return dict(from_json(_Measurements, {"kept": read_json(file)}, str(file)).kept)
    except FusionBenchError:
        return {}


def _measure(cell: PlannedCell, cache: CellDataCache, device: torch.device, name: str) -> Measured | None:
    config = cell.config
    torch.set_num_threads(config.threads)
    try:
        make_pretext(config, cache.paths)
        cell_data = cache.cell_data(config)
        model = build_model(config, cell_data).to(device).eval()
        encoded = cell_data.encoded[cell_data.splits.select]
        loader = BatchLoader(encoded, cell_data, device)
        batch = loader.batch(torch.arange(min(LATENCY_BATCH, len(loader))))
        with torch.no_grad():
            found = latency(lambda: model(batch), device, warmup=_WARMUP, repeats=_REPEATS)
    except Exception as error:  # the cells are trained, and their report needs no latency
        _LOG.warning("the latency of %s cannot be measured: %s: %s", cell.arm, type(error).__name__, error)
        return None
    costs = cell_folder(cache.paths.runs, cell.id).result().costs
    return Measured(costs, round(found.milliseconds, 3), name)
