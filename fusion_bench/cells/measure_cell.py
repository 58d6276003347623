"""The latency of a cell's model."""

from __future__ import annotations

import torch

from fusion_bench.efficiency.latency import latency
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.config import CellConfig
from fusion_bench.training.inputs import make_pretext
from fusion_bench.training.load_cell_data import CellDataCache
from fusion_bench.training.loop import build_model

LATENCY_BATCH = 32
_WARMUP, _REPEATS = 3, 15


def device_here(device: str) -> str:
    """Return the device on which latency is measured on this host: the CPU if there is no such GPU here."""
    return device if device == "cpu" or torch.cuda.is_available() else "cpu"


def measured_milliseconds(config: CellConfig, cache: CellDataCache) -> float:
    """Return the median milliseconds of a forward pass of `LATENCY_BATCH` samples of the selection split.

    Raises:
        FusionBenchError: the data cannot be made or read.
    """
    torch.set_num_threads(config.threads)
    device = torch.device(cache.paths.device)
    make_pretext(config, cache.paths)
    cell_data = cache.cell_data(config)
    model = build_model(config, cell_data).to(device).eval()
    loader = BatchLoader(cell_data.encoded[cell_data.splits.select], cell_data, device)
    batch = loader.batch(torch.arange(min(LATENCY_BATCH, len(loader))))
    with torch.no_grad():
        found = latency(lambda: model(batch), device, warmup=_WARMUP, repeats=_REPEATS)
    return round(found.milliseconds, 3)
