"""The parts of a cell that MLflow shows and only its folder holds: settings, data, files, use of the machine."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Final

from fusion_bench.cells.folder import CellFolder
from fusion_bench.cells.result import Timing
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import Target
from fusion_bench.reporting.mlflow_.content.run_names import settings_params
from fusion_bench.reporting.mlflow_.content.run_types import MetricPoint, ShownData
from fusion_bench.storage import digest
from fusion_bench.training.config import CellConfig

_ARTIFACTS: Final = ("config.json", "provenance.json", "samples.parquet")
_LONGEST_DIGEST: Final = 36  # of a data set


@dataclass(frozen=True)
class CellDetails:
    """The content of a cell's folder beside its outcome; every part is empty where the folder lacks it.

    Attributes:
        params: the settings as trained.
        data: the data set.
        files: its files by their path among the artifacts.
        usage: how much of the machine it used.
        model: the file of its trained weights.
        ended: when it ended, in milliseconds since 1970.
    """

    params: Mapping[str, str] = field(default_factory=dict)
    data: ShownData | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    usage: tuple[MetricPoint, ...] = ()
    model: Path | None = None
    ended: int | None = None


def cell_details(folder: CellFolder) -> CellDetails:
    """Return the details of a cell; what cannot be read is left out, because results do not depend on it."""
    try:
        config = folder.config()
    except FusionBenchError:
        return CellDetails()
    if not folder.done:
        return CellDetails(settings_params(config), _shown_data(config, ""))
    try:
        provenance, timing = folder.provenance(), folder.timing()
        ended = int((folder.path / "DONE").stat().st_mtime * 1000)
    except (FusionBenchError, OSError):
        return CellDetails(settings_params(config))
    model = folder.path / "model.safetensors"
    return CellDetails(
        settings_params(config),
        _shown_data(config, provenance.data),
        {name: folder.path / name for name in _ARTIFACTS if (folder.path / name).is_file()},
        _usage(timing, ended),
        model if model.is_file() else None,
        ended,
    )


def module_text(target: Target) -> dict[str, str]:
    """Return the text of the file that defines a class, by its path among the artifacts; empty without one."""
    reference, text = target.reference.partition(":")[0], target.source
    if text is None:
        try:
            found = importlib.util.find_spec(reference)
            file = Path(found.origin) if found is not None and found.origin else None
            text = file.read_text(encoding="utf-8") if file is not None and file.suffix == ".py" else None
        except (ImportError, OSError, ValueError):
            text = None
    return {} if text is None else {f"module/{PurePath(reference.replace('.', '/')).name}.py": text}


def _shown_data(config: CellConfig, manifest: str) -> ShownData:
    """Return the data set; one that was not read yet has a digest of how it would be read."""
    data = config.data
    name = f"{data.name} {data.version}".strip()
    of = manifest or digest([data.name, data.version])
    source = {"data set": data.name, "version": data.version, "task": data.task}
    return ShownData(name, of[:_LONGEST_DIGEST], json.dumps(source))


def _usage(timing: Timing, ended: int) -> tuple[MetricPoint, ...]:
    """Return the looks at the process of a cell under the names of MLflow's page for the use of the machine."""
    began = ended - int(1000 * (timing.usage[-1].seconds if timing.usage else 0.0))
    points = []
    for step, look in enumerate(timing.usage):
        values = {
            "cpu_utilization_percentage": 100 * look.cores,
            "system_memory_usage_megabytes": look.bytes / 1e6,
            **({"gpu_0_memory_usage_megabytes": look.gpu_bytes / 1e6} if look.gpu_bytes else {}),
        }
        time = began + int(1000 * look.seconds)
        points += [
            MetricPoint(f"system/{name}", round(value, 1), step, time) for name, value in values.items()
        ]
    return tuple(points)
