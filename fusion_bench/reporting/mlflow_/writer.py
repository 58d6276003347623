"""Brings the runs of one MLflow experiment in line with what they should show, one after the other.

Every run has a key. What MLflow can change in a run is changed in place: its tags, its status, the newest values of
metrics, more points of the curves of a cell in training. A run that holds anything else that it should not is deleted
and created again, because MLflow cannot remove what a run has logged. So nothing is there twice, whatever was
interrupted before.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from fusion_bench.reporting.mlflow_.artifacts import ArtifactFiles
from fusion_bench.reporting.mlflow_.content.run_types import MetricPoint, MlflowRun, ShownData
from fusion_bench.reporting.mlflow_.experiments import KEY, own_runs
from fusion_bench.reporting.mlflow_.store import TrackingStore

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_DIGEST: Final = "fusion_bench.digest"
_PARENT: Final = "mlflow.parentRunId"
_ENTITIES_PER_BATCH: Final = 1000
_PARAMS_PER_BATCH: Final = 100
_INHERITED: Final = ("mlflow.user", "mlflow.source.git.commit", "mlflow.source.git.branch", "git.changed")


@dataclass(eq=False)
class _Held:
    """A run of the experiment as the store has it."""

    id: str
    artifacts: str
    began: int  # milliseconds since 1970
    status: str
    metrics: dict[str, float]
    tags: dict[str, str]
    own: bool = False  # created by this writer, which knows what it has logged
    written: set[tuple[str, int, float]] = field(default_factory=set)
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.tags[KEY]


class ExperimentWriter:
    """The runs of an experiment.

    Args:
        client: of the store.
        store: the store.
        experiment: the id of the experiment.
        study: the value of the tag ``study`` of its runs.

    Attributes:
        created, removed: how many runs were created and deleted; ``changed``: how many were changed in place.
    """

    def __init__(self, client: MlflowClient, store: TrackingStore, experiment: str, study: str) -> None:
        self._client, self._experiment = client, experiment
        self._artifacts = ArtifactFiles(client, store)
        self._held: dict[str, _Held] = {}
        self.created = self.removed = self.changed = 0
        for run in own_runs(client, experiment, study):
            held = _held(run)
            if held.key in self._held:  # of an answer that was lost
                self._delete(held)
            else:
                self._held[held.key] = held

    def id_of(self, key: str) -> str | None:
        """Return the id of a run; None without one."""
        held = self._held.get(key)
        return None if held is None else held.id

    def keeps(self, key: str, cell: str, state: str, parent: str) -> bool:
        """Return True if a run shows how this cell ended; its parent, which may have been made anew, is set.

        Args:
            key: of the run.
            cell: the id of the cell.
            state: how it ended.
            parent: the key of the parent, which has been shown.
        """
        held = self._held.get(key)
        if held is None or held.status == "RUNNING":
            return False
        if (held.tags.get("cell"), held.tags.get("state")) != (cell, state):
            return False
        above = self._held[parent].id
        if held.tags.get(_PARENT) != above:
            self._client.set_tag(held.id, _PARENT, above)
            held.tags[_PARENT] = above
        return True

    def show(self, wanted: MlflowRun, origin: Mapping[str, str] | None = None) -> str:
        """Make the experiment hold a run, and return its id; its parent is shown before it.

        Args:
            wanted: the run.
            origin: tags of who trained it where; those of a run that it replaces stay otherwise.
        """
        held, now = self._held.get(wanted.key), int(time.time() * 1000)
        digest = "" if wanted.grows else wanted.digest
        tags = {**wanted.tags, **(origin or {})}
        if wanted.parent:
            tags[_PARENT] = self._held[wanted.parent].id
        if held is not None and not _continues(held, wanted, digest):
            if held.tags.get("cell") == wanted.tags.get("cell"):
                tags = {**{name: held.tags[name] for name in _INHERITED if name in held.tags}, **tags}
            self._delete(held)
            held = None
        if held is None:
            held = self._create(wanted, tags, now)
            self.created += 1
        else:
            self.changed += 1
        try:
            self._complete(held, wanted, digest, tags, now)
        except BaseException:
            if held.own and not held.tags.get(_DIGEST):
                with suppress(Exception):  # a store that is gone keeps a run that the next one removes
                    self._artifacts.remove(held.id, held.artifacts)
                    self._client.delete_run(held.id)
            self._held.pop(wanted.key, None)
            raise
        return held.id

    def remove_others(self, keys: Collection[str]) -> None:
        """Delete the runs with other keys."""
        for key in [key for key in self._held if key not in keys]:
            self._delete(self._held[key])

    def _create(self, wanted: MlflowRun, tags: Mapping[str, str], now: int) -> _Held:
        ended = wanted.ended or now
        began = ended - int(1000 * (wanted.seconds or 0.0))
        own = {**tags, KEY: wanted.key}
        run = self._client.create_run(self._experiment, start_time=began, tags=own, run_name=wanted.name)
        held = _Held(run.info.run_id, run.info.artifact_uri, began, "RUNNING", {}, own, own=True)
        self._held[wanted.key] = held
        return held

    def _complete(
        self, held: _Held, wanted: MlflowRun, digest: str, tags: Mapping[str, str], now: int
    ) -> None:
        from mlflow.entities import RunTag  # noqa: PLC0415 - takes seconds

        whole = bool(digest) and held.tags.get(_DIGEST) == digest
        points: list[MetricPoint] = []
        if not whole:
            points = [point for point in wanted.points if point.identity not in held.written]
        if not whole and digest:
            self._log_once(held, wanted)
        own = {**tags, **({_DIGEST: digest} if digest else {})}
        new_tags = {name: value for name, value in own.items() if held.tags.get(name) != value}
        newest = {name: value for name, value in wanted.latest.items() if held.metrics.get(name) != value}
        params = {} if held.params or whole else wanted.params
        # The points come first, so that MLflow's page of comparisons opens on the first of them. The digest is in
        # the last batch: a run that has it is whole.
        time_of_final = wanted.ended or now
        values = [(point.metric, point.value, point.time or time_of_final, point.step) for point in points]
        values += [(name, value, now, 0) for name, value in newest.items()]
        self._log(held.id, values, params, [RunTag(name, value) for name, value in new_tags.items()])
        held.written |= {point.identity for point in points}
        held.metrics |= newest
        held.tags |= new_tags
        held.params = params or held.params
        if held.status != wanted.status:
            self._end(held, wanted, now)

    def _log(
        self,
        run: str,
        values: list[tuple[str, float, int, int]],
        params: Mapping[str, str],
        tags: list[object],
    ) -> None:
        from mlflow.entities import Metric, Param  # noqa: PLC0415 - takes seconds

        metrics = [Metric(name, value, stamp, step) for name, value, stamp, step in values]
        rest = [Param(name, value) for name, value in params.items()]
        first = _ENTITIES_PER_BATCH - 2 * _PARAMS_PER_BATCH
        while len(metrics) > first or len(rest) > _PARAMS_PER_BATCH:
            self._client.log_batch(run, metrics[:first], rest[:_PARAMS_PER_BATCH])
            metrics, rest = metrics[first:], rest[_PARAMS_PER_BATCH:]
        if metrics or rest or tags:
            self._client.log_batch(run, metrics, rest, tags)

    def _log_once(self, held: _Held, wanted: MlflowRun) -> None:
        """Log what a run gets at its end: files, data set and model."""
        for place, path in wanted.files.items():
            self._artifacts.put(held.id, held.artifacts, place, path)
        for place, text in wanted.texts.items():
            self._artifacts.put_text(held.id, held.artifacts, place, text)
        if wanted.data is not None:
            self._log_data(held.id, wanted.data)
        if wanted.model is not None:
            self._artifacts.put_model(self._experiment, held.id, wanted.name, wanted.model, wanted.params)

    def _log_data(self, run: str, data: ShownData) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415 - takes seconds

        found = Dataset(data.name, data.digest, "code", data.source)
        self._client.log_inputs(run, [DatasetInput(found, [InputTag("mlflow.data.context", "train")])])

    def _end(self, held: _Held, wanted: MlflowRun, now: int) -> None:
        if wanted.status == "RUNNING":
            self._client.update_run(held.id, status="RUNNING")
        else:
            ended = wanted.ended or now
            if wanted.ended is not None and wanted.seconds is not None:
                # A run that was shown before its cell ended began with an event of the cell, which says nothing of
                # how long the cell took: MLflow's column of durations shows what the cell measured.
                ended = held.began + int(1000 * wanted.seconds)
            self._client.set_terminated(held.id, wanted.status, end_time=ended)
        held.status = wanted.status

    def _delete(self, held: _Held) -> None:
        """Delete a run and, in the store that fusion-bench keeps, its artifacts too."""
        self._client.delete_run(held.id)
        self._artifacts.remove(held.id, held.artifacts)
        if self._held.get(held.key) is held:
            del self._held[held.key]
        self.removed += 1


def artifact_folder(place: str) -> str:
    """Return the folder of a path among the artifacts; empty for one at their top."""
    parent = str(PurePosixPath(place).parent)
    return "" if parent == "." else parent


def _continues(held: _Held, wanted: MlflowRun, digest: str) -> bool:
    """Return True if the run can be made right by adding to it."""
    if digest and held.tags.get(_DIGEST) == digest:
        known = {*wanted.latest, *(point.metric for point in wanted.points)}
        return known >= {name for name in held.metrics if not name.startswith("system/")}
    if not held.own or held.status != "RUNNING" or held.tags.get(_DIGEST):
        return False
    same_params = not held.params or dict(held.params) == dict(wanted.params)
    return same_params and held.written <= {point.identity for point in wanted.points}


def _held(run: Run) -> _Held:
    info, data = run.info, run.data
    return _Held(
        info.run_id, info.artifact_uri, info.start_time, info.status, dict(data.metrics), dict(data.tags)
    )
