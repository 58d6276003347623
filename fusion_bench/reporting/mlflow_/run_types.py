"""The content of MLflow runs and experiments, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from fusion_bench.storage import digest, file_digest

RunKind = Literal["arm", "cell", "report"]
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

_LAYOUT: Final = 1  # part of every digest: raise it to show equal results in another form


@dataclass(frozen=True)
class MetricPoint:
    """One value of a metric; ``step`` is the epoch for curves and 0 for final values."""

    metric: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class MlflowRun:
    """One MLflow run.

    Attributes:
        key: the name of the run within the study, independent of its content (``cell/laconv/0``).
        kind: whether the run is that of an arm, of a cell, or of the report.
        name: the name in the table of runs.
        parent: the key of the parent run; None without one.
        status: MLflow's name for how the run ended.
        params: parameters by name.
        points: values of metrics.
        tags: tags by name.
        files: local file by its path among the artifacts.
        seconds: the duration; None if it is unknown.
    """

    key: str
    kind: RunKind
    name: str
    parent: str | None
    status: RunStatus
    params: Mapping[str, str] = field(default_factory=dict)
    points: tuple[MetricPoint, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def digest(self) -> str:
        """A hash of all content except the parent, by which equal content is recognised."""
        points = [[point.metric, point.step, point.value] for point in self.points]
        files = {place: file_digest(path) for place, path in self.files.items()}
        content = [self.kind, self.name, self.status, self.seconds, dict(self.params), dict(self.tags)]
        return digest([_LAYOUT, self.key, *content, points, files])


@dataclass(frozen=True)
class MlflowStudy:
    """One MLflow experiment: its name, its tags, and its runs with parents before children."""

    name: str
    tags: Mapping[str, str]
    runs: tuple[MlflowRun, ...]
