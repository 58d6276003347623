"""What each arm costs: parameters, multiply-adds, and latency measured while nothing else runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.provenance import expected_provenance, processor
from fusion_bench.cells.run_cell import CellDataCache
from fusion_bench.efficiency.latency import latency
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.arms import Arm
from fusion_bench.storage import digest, read_json, write_json
from fusion_bench.study.plan import PlannedCell, cell_status, confirm_cells
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.loop import build_model
from fusion_bench.training.paths import RunPaths

_LOG = logging.getLogger(__name__)
LATENCY_BATCH = 32
_WARMUP, _REPEATS = 3, 15


@dataclass(frozen=True)
class Measured:
    """Sizes of an arm, and the median milliseconds of a forward pass of `LATENCY_BATCH` samples."""

    fusion_parameters: int
    fusion_multiply_adds: int
    around_parameters: int
    around_multiply_adds: int
    latency_ms: float
    device: str


def measure_arms(
    arms: Sequence[Arm], seeds: Sequence[int], paths: RunPaths, file: Path
) -> Mapping[str, Measured]:
    """Measure each arm once; what ``file`` already holds for the same arm, source and device is kept.

    An arm without a finished cell has no entry: it may be one that takes its process down.
    """
    try:
        kept = read_json(file) if file.exists() else {}
    except FusionBenchError:
        kept = {}
    cache, device = CellDataCache(paths), torch.device(paths.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    measured: dict[str, Measured] = {}
    for arm in arms:
        done = [cell for cell in confirm_cells([arm], seeds) if cell_status(cell, paths).state == "done"]
        if not done:
            continue
        key = digest([arm.config.id, expected_provenance(arm.config), name, torch.__version__])
        if key not in kept:
            found = _measure(done[0], cache, device, name)
            if found is None:
                continue
            kept[key] = asdict(found)
            write_json(file, kept)
        measured[arm.label] = Measured(**kept[key])
    return measured


def _measure(cell: PlannedCell, cache: CellDataCache, device: torch.device, name: str) -> Measured | None:
    config = cell.config
    torch.set_num_threads(config.threads)
    try:
        cell_data = cache.cell_data(config)
        model = build_model(config, cell_data).to(device).eval()
        encoded = cell_data.encoded[cell_data.splits.select]
        loader = BatchLoader(encoded, cell_data, device)
        batch = loader.batch(torch.arange(min(LATENCY_BATCH, len(loader))))
        with torch.no_grad():
            found = latency(lambda: model(batch), device, warmup=_WARMUP, repeats=_REPEATS)
    except Exception as error:  # the cells are trained; their report must not fail for want of a latency
        _LOG.warning("the latency of %s cannot be measured: %s: %s", cell.arm, type(error).__name__, error)
        return None
    costs = cell_folder(cache.paths.runs, cell.id).result()["costs"]
    return Measured(**costs, latency_ms=round(found.milliseconds, 3), device=name)
