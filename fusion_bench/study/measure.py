"""The cost of each arm: parameters, multiply-adds, and latency measured while nothing else runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from fusion_bench.cells.events import CellFailed, CellMeasured
from fusion_bench.cells.executors.executor import Executor, WorkerSettings
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.measure_cell import device_here
from fusion_bench.cells.provenance import current_sources, device_name
from fusion_bench.cells.result import ArmCosts
from fusion_bench.errors import FusionBenchError
from fusion_bench.lease import Lease, LeaseHeld, is_held
from fusion_bench.serialisation import from_json, to_json
from fusion_bench.spec.arms import Arm
from fusion_bench.storage import digest, read_json, write_json
from fusion_bench.study.cell_status import cell_statuses
from fusion_bench.study.plan import PlannedCell, confirm_cells
from fusion_bench.training.paths import RunPaths

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """The measured cost of an arm.

    Attributes:
        costs: parameters and multiply-adds.
        latency_ms: median milliseconds of a forward pass of `fusion_bench.cells.measure_cell.LATENCY_BATCH` samples.
        device: the name of the processor or GPU on which the latency was measured.
    """

    costs: ArmCosts
    latency_ms: float
    device: str


def measure_arms(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    paths: RunPaths,
    file: Path,
    executor: Executor,
    disturbed: Callable[[], bool] = lambda: False,
) -> Mapping[str, Measured]:
    """Return the cost of each arm by label; measurements in ``file`` of the same arm and source are reused.

    The others are made by ``executor`` and added to ``file``. All that is returned comes from one device: this
    machine's, or another one on which every arm was measured before. An arm without a finished cell has no entry,
    since running it might end its process; neither has one whose process ends or gives no answer. Once ``disturbed``
    says that workers may be running, nothing more is measured.
    """
    done, kept = _finished_cells(arms, seeds, paths), dict(_kept(file))
    device = _device_of(arms, done, paths, kept)
    keys = _keys(arms, done, paths, device)
    todo = {done[label].id: label for label, key in keys.items() if key not in kept}
    while todo:
        found, ended = device, 0
        for event in executor.measure(list(todo)):
            if disturbed():
                return {label: kept[key] for label, key in keys.items() if key in kept}
            if isinstance(event, CellFailed):
                _LOG.warning("the latency of %s cannot be measured: %s", todo[event.cell], event.reason)
            if isinstance(event, CellMeasured):
                found = event.device or device
                result = cell_folder(paths.runs, event.cell).if_done(CellFolder.result)
                key = _keys(arms, done, paths, found).get(todo[event.cell])
                if result is None or key is None:  # put aside meanwhile
                    continue
                kept[key] = Measured(result.costs, event.milliseconds, found)
                write_json(file, to_json(kept))
            if isinstance(event, CellFailed | CellMeasured):
                ended += 1
                paths.notify("measuring the cost of arms", ended, len(todo))
        tried, keys = set(todo), _keys(arms, done, paths, found)
        # A node of a cluster has measured: there too what was measured here before.
        todo = {
            done[label].id: label
            for label, key in keys.items()
            if key not in kept and done[label].id not in tried
        }
    return {label: kept[key] for label, key in keys.items() if key in kept}


def measure_for_report(
    arms: Sequence[Arm], seeds: Sequence[int], paths: RunPaths, folder: Path
) -> Mapping[str, Measured]:
    """Return the cost of each arm of a study whose folder this is, for a report that is written after its run.

    While a run of the study is going on nothing is measured, since its workers would make every arm look slower;
    what was measured before is returned. A run may begin at any time: it ends the measuring, not the other way round.
    """
    file = folder / "measured.json"
    settings = WorkerSettings(paths, workers=1, threads=arms[0].config.threads)
    if not is_held(folder):
        with (
            suppress(LeaseHeld),
            Lease(folder / "measuring"),
            LocalExecutor(settings, folder / "logs") as executor,
        ):
            return measure_arms(arms, seeds, paths, file, executor, lambda: is_held(folder))
    _LOG.warning(
        "a run of the study is going on, or another report measures: arms that were not measured before have no "
        "latency"
    )
    done, kept = _finished_cells(arms, seeds, paths), _kept(file)
    keys = _keys(arms, done, paths, _device_of(arms, done, paths, kept))
    return {label: kept[key] for label, key in keys.items() if key in kept}


def _finished_cells(arms: Sequence[Arm], seeds: Sequence[int], paths: RunPaths) -> dict[str, PlannedCell]:
    """Return the first finished cell of each arm that has one, by label."""
    done: dict[str, PlannedCell] = {}
    for item in cell_statuses(confirm_cells(arms, seeds), paths):
        if item.state == "done":
            done.setdefault(item.cell.arm, item.cell)
    return {arm.label: done[arm.label] for arm in arms if arm.label in done}


def _device_of(
    arms: Sequence[Arm], done: Mapping[str, PlannedCell], paths: RunPaths, kept: Mapping[str, Measured]
) -> str:
    """Return the device whose measurements count: this machine's, unless another one has measured every arm.

    The nodes of a cluster measure what they have trained; a report is written elsewhere.
    """
    here = _here(paths)
    for device in dict.fromkeys([here, *(measured.device for measured in kept.values())]):
        if all(key in kept for key in _keys(arms, done, paths, device).values()):
            return device
    return here


def _keys(
    arms: Sequence[Arm], done: Mapping[str, PlannedCell], paths: RunPaths, device: str
) -> dict[str, str]:
    """Return by label what a measurement depends on: the arm, its source, its data, the device and torch.

    The data decide the size of the vocabulary, and so the cost around the fusion modules.
    """
    found = {}
    for arm in arms:
        if arm.label in done:
            recorded = cell_folder(paths.runs, done[arm.label].id).if_done(CellFolder.provenance)
            if recorded is None:
                continue
            parts = [
                arm.config.id,
                to_json(current_sources(arm.config)),
                recorded.data,
                device,
                torch.__version__,
            ]
            found[arm.label] = digest(parts)
    return found


def _here(paths: RunPaths) -> str:
    """Return the name of this machine's device."""
    return device_name(device_here(paths.device))


def _kept(file: Path) -> Mapping[str, Measured]:
    """Return the measurements in a file; what is missing or damaged is measured again."""
    try:
        stored = read_json(file)
    except FusionBenchError:
        return {}
    kept: dict[str, Measured] = {}
    for key, value in stored.items() if isinstance(stored, Mapping) else ():
        with suppress(FusionBenchError):
            kept[key] = from_json(Measured, value, key)
    return kept
