"""The content of MLflow runs and experiments, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from fusion_bench.storage import digest, file_digest

RunKind = Literal["arm", "cell", "report", "search", "trial"]
RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

_LAYOUT: Final = 2  # part of every digest: raise it to show equal results in another form


@dataclass(frozen=True)
class MetricPoint:
    """One value of a metric.

    Attributes:
        metric: its name.
        value: its value.
        step: the epoch for curves, the number of the look for the use of the machine, and 0 for final values.
        time: when it was measured, in milliseconds since 1970; None where that is not known.
    """

    metric: str
    value: float
    step: int = 0
    time: int | None = None

    @property
    def identity(self) -> tuple[str, int, float]:
        """The values that tell a point from others of the run."""
        return self.metric, self.step, self.value


@dataclass(frozen=True)
class ShownData:
    """The data set that a cell was trained on: its name with version, its digest, and where it comes from."""

    name: str
    digest: str
    source: str


@dataclass(frozen=True)
class MlflowRun:
    """One MLflow run.

    Attributes:
        key: the name of the run within the experiment, independent of its content (``cell/laconv/0``).
        kind: what the run stands for.
        name: the name in the table of runs.
        parent: the key of the parent run; None without one.
        status: MLflow's name for how the run ended; ``RUNNING`` if it has not.
        params: parameters by name.
        points: the histories of metrics.
        latest: metrics of which only the newest value counts, since it may change later (means, latency).
        tags: tags by name; they may change later.
        files: local file by its path among the artifacts.
        texts: text by the path of its file among the artifacts.
        data: the data set; None if the run has none.
        model: the file with the trained weights; None if they were not kept.
        seconds: the duration; None if it is unknown.
        ended: when it ended, in milliseconds since 1970; None if it is unknown.
    """

    key: str
    kind: RunKind
    name: str
    parent: str | None
    status: RunStatus
    params: Mapping[str, str] = field(default_factory=dict)
    points: tuple[MetricPoint, ...] = ()
    latest: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    data: ShownData | None = None
    model: Path | None = None
    seconds: float | None = None
    ended: int | None = None

    @property
    def grows(self) -> bool:
        """True for a cell that is being trained: its points are not all there yet."""
        return self.kind == "cell" and self.status == "RUNNING"

    @property
    def digest(self) -> str:
        """A hash of what MLflow cannot change in a run: all but its place, name, status, tags and newest values."""
        points = sorted([point.metric, point.step, point.value] for point in self.points)
        files = {place: file_digest(path) for place, path in self.files.items()}
        files |= {place: digest(text) for place, text in self.texts.items()}
        data = None if self.data is None else [self.data.name, self.data.digest, self.data.source]
        return digest([_LAYOUT, self.key, dict(self.params), points, files, data, self.model is not None])


@dataclass(frozen=True)
class MlflowStudy:
    """One MLflow experiment: its name, its tags, and its runs with parents before children."""

    name: str
    tags: Mapping[str, str]
    runs: tuple[MlflowRun, ...]
