"""The events of a run of a study so far, as the runs that MLflow should show now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from fusion_bench.cells.events import CellFailed, CellFinished, CellProgressed, CellStarted, CellStepped
from fusion_bench.cells.folder import cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.content.arm_runs import arm_run, means_so_far
from fusion_bench.reporting.mlflow_.content.cell_details import module_text
from fusion_bench.reporting.mlflow_.content.cell_runs import (
    ShownArm,
    ShownCell,
    cell_from_folder,
    cell_run,
    curve_point,
    details_in,
)
from fusion_bench.reporting.mlflow_.content.run_types import MetricPoint, MlflowRun
from fusion_bench.spec.study import Study
from fusion_bench.study.observer import RunEvent, RunPlanned
from fusion_bench.study.plan import PlannedCell

_ENDED: Final = frozenset({"done", "failed", "stale"})


@dataclass(frozen=True)
class _Seen:
    """A cell: its plan, its state with the reason, the curve of its training, and when that began."""

    planned: PlannedCell
    state: str
    reason: str = ""
    points: tuple[MetricPoint, ...] = ()
    began: float = 0.0


@dataclass(eq=False)
class LiveState:
    """The confirm cells of a run.

    Attributes:
        study: the study.
        runs: the runs folder.
    """

    study: Study
    runs: Path
    _trained: set[str] = field(default_factory=set)
    _seen: dict[tuple[str, int], _Seen] = field(default_factory=dict)
    _ended: dict[str, ShownCell] = field(default_factory=dict)
    _over: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def notify(self, event: RunEvent) -> None:
        """Take an event, from the thread of the run; nothing is read or written."""
        with self._lock:
            self._take(event)

    def trained(self) -> frozenset[str]:
        """Return the ids of the cells that this run trains or has trained."""
        with self._lock:
            return frozenset(self._trained)

    def _take(self, event: RunEvent) -> None:
        if isinstance(event, CellProgressed | CellStepped | CellFinished):
            self._trained.add(event.cell)
        if isinstance(event, RunPlanned):
            for status in event.cells:
                if status.cell.purpose == "confirm" and not status.cell.abandoned:
                    at = (status.cell.arm, status.cell.seed)
                    self._seen.setdefault(at, _Seen(status.cell, status.state, status.reason))
        elif isinstance(event, CellStarted):
            begins = time.time()
            self._change(event.cell, lambda s: replace(s, began=begins))
        elif isinstance(event, CellProgressed):
            now = time.time()
            point = curve_point(event.quantity, event.epoch, event.value, int(1000 * now))
            self._change(event.cell, lambda s: _grown(s, point, s.began or now))
        elif isinstance(event, CellStepped):
            now = time.time()
            self._change(event.cell, lambda s: _Seen(s.planned, "running", "", s.points, s.began or now))
        elif isinstance(event, CellFinished):
            self._change(event.cell, lambda s: _Seen(s.planned, "done"))
        elif isinstance(event, CellFailed):
            self._change(event.cell, lambda s: _Seen(s.planned, "failed", event.reason))

    def stop(self) -> None:
        """Take it that no cell is being trained any more."""
        with self._lock:
            self._over = True
            for at, seen in self._seen.items():
                if seen.state == "running":
                    self._seen[at] = _Seen(seen.planned, "stopped", "", seen.points, seen.began)

    def runs_to_show(self, is_shown: Callable[[str, str, str, str], bool]) -> Iterator[MlflowRun]:
        """Yield the runs of the arms, each before those of its cells that are being trained or have ended.

        Args:
            is_shown: whether the run of this key already shows how this cell ended (its state), below this parent.
        """
        with self._lock:
            seen = list(self._seen.values())
        arms = {arm.label: arm for arm in self.study.arms}
        for label in dict.fromkeys(cell.planned.arm for cell in seen):
            own = [cell for cell in seen if cell.planned.arm == label]
            first = own[0].planned
            component = arms[label].component if label in arms else first.config.arm.target.asked
            arm = ShownArm(self.study.name, label, component, first.role, first.factors)
            ended = [
                found for cell in own if cell.state == "done" and (found := self._done(arm, cell)) is not None
            ]
            costs = ended[0].arm.costs if ended else {}
            shown_arm = ShownArm(self.study.name, label, component, first.role, first.factors, costs)
            texts = module_text(first.config.arm.target)
            states = [cell.state if self._over or cell.state in _ENDED else "running" for cell in own]
            yield arm_run(shown_arm, states, means_so_far(ended), texts=texts)
            for cell in own:
                key = f"cell/{label}/{cell.planned.seed}"
                if cell.state in _ENDED and is_shown(key, cell.planned.id, cell.state, f"arm/{label}"):
                    continue
                found = self._shown(arm, cell)
                if found is not None:
                    yield cell_run(found, details_in(self.runs, cell.planned.id))

    def _shown(self, arm: ShownArm, seen: _Seen) -> ShownCell | None:
        if seen.state == "done":
            return self._done(arm, seen)
        if seen.state not in {"running", "stopped", "failed", "stale"}:
            return None
        seconds = {"seconds": time.time() - seen.began} if seen.began else {}
        return ShownCell(
            arm,
            seen.planned.seed,
            seen.planned.id,
            seen.state,
            seen.reason,
            curves=seen.points,
            counts=seconds,
        )

    def _done(self, arm: ShownArm, seen: _Seen) -> ShownCell | None:
        """Return a finished cell; None if it cannot be read, which the report will say."""
        key = f"{arm.label} {seen.planned.id}"
        if key not in self._ended:
            primary = (self.study.primary_split, self.study.primary)
            folder = cell_folder(self.runs, seen.planned.id)
            try:
                found = folder.if_done(lambda done: cell_from_folder(arm, seen.planned.seed, done, primary))
            except FusionBenchError:
                found = None
            if found is None:
                return None
            self._ended[key] = found
        return self._ended[key]

    def _change(self, cell: str, change: Callable[[_Seen], _Seen]) -> None:
        for at, seen in self._seen.items():  # two arms may share one cell
            if seen.planned.id == cell:
                self._seen[at] = change(seen)


def _grown(seen: _Seen, point: MetricPoint, began: float) -> _Seen:
    """Return a cell in training with one more point; those of a try that ended early are dropped from there on."""
    kept = [other for other in seen.points if other.metric != point.metric or other.step < point.step]
    return _Seen(seen.planned, "running", "", (*kept, point), began)
