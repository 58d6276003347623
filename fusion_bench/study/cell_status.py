"""The state of each cell: from its folder, and from what it read then and would read now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from fusion_bench.cells.current_inputs import CurrentInputs, changed_inputs
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.provenance import current_circumstances
from fusion_bench.cells.result import Circumstances, Provenance
from fusion_bench.encoders.packages import package_of
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.study import Study
from fusion_bench.study.plan import PlannedCell, Purpose
from fusion_bench.training.config import DataConfig
from fusion_bench.training.inputs import find_existing_data
from fusion_bench.training.paths import RunPaths

_USELESS = (
    "training it here again would give the same; train it where most cells were trained, or delete those"
)
CellState = Literal["missing", "running", "done", "failed", "stale"]


@dataclass(frozen=True)
class CellStatus:
    """The state of a cell, and the reason if it failed or is stale.

    ``missing`` cells have no result yet; ``stale`` ones have a result of other sources, data or weights than today's.
    """

    cell: PlannedCell
    state: CellState
    reason: str = ""


def cell_statuses(
    cells: Sequence[PlannedCell], paths: RunPaths, inputs: CurrentInputs | None = None
) -> tuple[CellStatus, ...]:
    """Return the state of each cell of a study: what `run`, `plan`, `cells ls` and `report` all show.

    Args:
        cells: the cells.
        paths: where runs, data and weights lie.
        inputs: what cells would read now; looked at afresh by default.
    """
    inputs = inputs or CurrentInputs(paths)
    return _comparable([_look_at(cell, inputs) for cell in cells], inputs)


def cell_status(cell: PlannedCell, paths: RunPaths) -> CellStatus:
    """Return the state of one cell, without a comparison with other cells of its study."""
    return _look_at(cell, CurrentInputs(paths)).status


def recorded_state(cell: PlannedCell, paths: RunPaths) -> CellStatus:
    """Return what a cell's folder says: done, failed or missing; a result is not compared with anything."""
    if cell.abandoned:
        return CellStatus(cell, "failed", cell.abandoned)
    folder = cell_folder(paths.runs, cell.id)
    if folder.done:
        return CellStatus(cell, "done")
    reason = folder.failure
    return CellStatus(cell, "failed", reason) if reason is not None else CellStatus(cell, "missing")


@dataclass(frozen=True)
class _Seen:
    """The state of a cell and where its numbers come from; None without numbers."""

    status: CellStatus
    recorded: Provenance | None = None


def _look_at(cell: PlannedCell, inputs: CurrentInputs) -> _Seen:
    recorded = (
        None if cell.abandoned else cell_folder(inputs.paths.runs, cell.id).if_done(CellFolder.provenance)
    )
    if recorded is None:
        return _Seen(recorded_state(cell, inputs.paths))
    changed = changed_inputs(recorded, inputs.of(cell.config))
    if changed:
        reason = f"{', '.join(changed)} changed since it was trained"
        return _Seen(CellStatus(cell, "stale", reason), recorded)
    return _Seen(CellStatus(cell, "done"), recorded)


def not_compared(statuses: Sequence[CellStatus], inputs: CurrentInputs) -> tuple[str, ...]:
    """Return why the data of finished cells were not compared with today's, one sentence for each data set."""
    finished = [status.cell.config for status in statuses if status.state in {"done", "stale"}]
    return tuple(dict.fromkeys(filter(None, (inputs.data_of(config).problem for config in finished))))


def missing_files(data_sets: Sequence[DataConfig], paths: RunPaths) -> tuple[str, ...]:
    """Return one sentence for each data set whose folder is not known or whose files are not all there.

    Nothing is read. A built-in data set that is not generated yet lacks nothing.
    """
    problems = []
    for config in data_sets:
        try:
            if not config.adapter.target.load().built_in:
                find_existing_data(config, paths)
        except FusionBenchError as error:
            problems.append(str(error))
    return tuple(problems)


def missing_packages(studies: Iterable[Study]) -> tuple[str, ...]:
    """Return one sentence for each package of backbone weights that an arm needs and that is not installed."""
    backbones = [arm.config.backbone for study in studies for arm in study.arms]
    wanted = [package_of(used.name) for used in backbones if used is not None and used.weights == "package"]
    return tuple(dict.fromkeys(package.how_to_install() for package in wanted if package.find() is None))


def _comparable(seen: Sequence[_Seen], inputs: CurrentInputs) -> tuple[CellStatus, ...]:
    """Return the statuses with those done cells marked as stale whose circumstances differ from those of most others.

    Cells of a CPU and of a GPU, or of two versions of torch, are never compared. Cells of a search are compared among
    themselves.
    """
    recorded: dict[Purpose, dict[str, Circumstances]] = {}
    for item in seen:
        if item.status.state == "done" and item.recorded is not None:
            cell = item.status.cell
            recorded.setdefault(cell.purpose, {})[cell.id] = item.recorded.circumstances
    usual = {
        purpose: Counter(found.values()).most_common(1)[0][0] for purpose, found in recorded.items() if found
    }
    return tuple(
        _compared(item.status, recorded[item.status.cell.purpose], usual[item.status.cell.purpose], inputs)
        if item.status.cell.id in recorded.get(item.status.cell.purpose, {})
        else item.status
        for item in seen
    )


def _compared(
    status: CellStatus, recorded: Mapping[str, Circumstances], usual: Circumstances, inputs: CurrentInputs
) -> CellStatus:
    own = recorded[status.cell.id]
    if own == usual:
        return status
    names = [item.name for item in fields(own) if getattr(own, item.name) != getattr(usual, item.name)]
    reason = f"trained with {_listed(own, names)}; most cells with {_listed(usual, names)}"
    if would_be_the_same(status, inputs):
        reason += f"; {_USELESS}"
    return replace(status, state="stale", reason=reason)


def _listed(circumstances: Circumstances, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {getattr(circumstances, name)[:16]}" for name in names)


def would_be_the_same(status: CellStatus, inputs: CurrentInputs) -> bool:
    """Return True for a stale cell that training again on this machine would leave stale.

    It read what it would read now and ran under the circumstances of this machine; the other cells of its study did
    not.
    """
    recorded = cell_folder(inputs.paths.runs, status.cell.id).if_done(CellFolder.provenance)
    if recorded is None:
        return False
    here = current_circumstances(inputs.paths.device, inputs.manifest_of(status.cell.config))
    return not changed_inputs(recorded, inputs.of(status.cell.config)) and recorded.circumstances == here
