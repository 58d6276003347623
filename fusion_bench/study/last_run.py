"""The last run of a study, from its ``plan.json``: the study file, overrides, data folders and cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fusion_bench.cells.folder import cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.arms import Arm
from fusion_bench.storage import read_json
from fusion_bench.study.cell_status import CellStatus
from fusion_bench.training.config import CellConfig

_NAMED = 3
"""Number of changed settings that are named; of the others only the number is given."""
_LONGEST = 40
"""Characters of a changed value that are shown."""


@dataclass(frozen=True)
class RunCell:
    """A cell of the last run: the label of its arm, its seed, why it was trained and its id."""

    arm: str
    seed: int
    purpose: str
    cell: str


@dataclass(frozen=True)
class LastRun:
    """The last run of a study, read from its ``plan.json``.

    Attributes:
        study: the name of the study.
        file: the study file; None for a plan that was written before files were kept.
        overrides: the ``KEY=VALUE`` texts of ``--set``.
        data: the folders of ``--data``, by name of the data set.
        text_digest: see `fusion_bench.spec.study.Study`.
        cells: the cells, in the order of training.
    """

    study: str
    file: Path | None
    overrides: tuple[str, ...]
    data: Mapping[str, Path]
    text_digest: str
    cells: tuple[RunCell, ...]


def read_last_run(folder: Path) -> LastRun | None:
    """Return the last run of a study from the study's folder in the runs folder; None if it never ran.

    Raises:
        FusionBenchError: ``plan.json`` is damaged.
    """
    file = folder / "plan.json"
    if not file.exists():
        return None
    plan = read_json(file)
    try:
        return LastRun(
            study=str(plan["study"]),
            file=Path(plan["file"]) if plan.get("file") else None,
            overrides=tuple(map(str, plan.get("overrides", []))),
            data={str(name): Path(root) for name, root in plan.get("data", {}).items()},
            text_digest=str(plan.get("text_digest", "")),
            cells=tuple(
                RunCell(str(row["arm"]), int(row["seed"]), str(row["purpose"]), str(row["cell"]))
                for row in plan["cells"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FusionBenchError(
            f"{file} is damaged; delete it, and run the study again to write it"
        ) from error


def with_earlier_settings(
    statuses: Sequence[CellStatus], arms: Sequence[Arm], last: LastRun | None, runs: Path
) -> tuple[CellStatus, ...]:
    """Return the statuses, where missing cells say what changed since the last run trained the same arm and seed.

    A changed setting, or another text of a file that the study names, gives another cell; without this reason the
    result of the last run would seem lost.

    Args:
        statuses: the cells of the study.
        arms: the arms of the study.
        last: its last run; None if it never ran.
        runs: the runs folder.
    """
    if last is None:
        return tuple(statuses)
    then = {(row.arm, row.seed): row.cell for row in last.cells if row.purpose == "confirm"}
    components = {arm.label: arm.component for arm in arms}

    def explained(status: CellStatus) -> CellStatus:
        old = then.get((status.cell.arm, status.cell.seed), status.cell.id)
        if status.state != "missing" or old == status.cell.id or not cell_folder(runs, old).done:
            return status
        try:
            then_config = cell_folder(runs, old).config()
        except FusionBenchError:  # a damaged cell that the study no longer asks for explains nothing
            return status
        changed = _changed_settings(then_config, status.cell.config, components.get(status.cell.arm, ""))
        reason = f"not trained since {changed} changed; the result of the last run is kept"
        return replace(status, reason=reason)

    return tuple(map(explained, statuses))


def _changed_settings(then: CellConfig, now: CellConfig, component: str) -> str:
    """Return the names of the settings and files that differ, as text."""
    one, other = (dict(_flat(config.without_checkpoint().to_json())) for config in (then, now))
    names = [
        _described(key, one.get(key), other.get(key), component)
        for key in dict.fromkeys([*one, *other])
        if one.get(key) != other.get(key)
    ]
    names = list(dict.fromkeys(names))
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every leaf of nested mappings."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def _described(key: str, then: Any, now: Any, component: str) -> str:
    part, _, rest = key.partition(".")
    if part == "start":
        return "the study that it starts from"
    if key == "backbone.weights_sha256":
        return "the file of the backbone's weights"
    if rest.endswith("target.source"):
        return component if part == "arm" else f"the file of {part}"
    if rest.startswith(("target.", "adapter.target.")):
        return "its module" if part == "arm" else f"{part}.name" if part == "data" else f"{part}.encoder"
    name = rest.replace("adapter.settings.", "").replace("settings.", "")
    if any(str(value).startswith("sha256:") for value in (then, now)):
        return f"the file of {part}.{name}"
    name = name if part == "arm" else ".".join(filter(None, [part, name]))
    return f"{name} ({_short(then)}, now {_short(now)})"


def _short(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
