"""A request for a run: the study, and where and how its cells are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fusion_bench.cells.executors.on_ray.cluster import RayRequest

LOCAL, RAY, SLURM = EXECUTORS = ("local", "ray", "slurm")
"""The places where cells can be trained."""


@dataclass(frozen=True)
class RunRequest:
    """A study to run, and the options of the run.

    Attributes:
        study: the study file; ``overrides`` are changes to it (``train.epochs=3``).
        runs: the folder of cells, caches and reports.
        workers: how many cells run at once; None: as many as cores / threads on a CPU, one on each GPU, and as many
            as a Ray cluster has place for.
        data: folder of each data set by its name.
        device: ``cpu``, ``cuda`` or ``cuda:1``; None: a GPU if there is one.
        retry_failed: try failed cells again; ``retry_stale``: train stale cells anew.
        keep_weights: write each cell's weights beside its result.
        smoke: toy sizes, in this process; see `fusion_bench.spec.smoke`.
        per_device: how many cells run at once on each GPU of this host, instead of ``workers``.
        executor: ``local``, ``ray`` or ``slurm``: where cells are trained.
        ray: what is asked of Ray.
        slurm: ``KEY=VALUE`` texts for Slurm; see `fusion_bench.cells.executors.slurm.options`.
        against: the folder of a report with whose arms the study is compared; None compares its own arms alone.
        storage: the address of a database that Optuna's trials are copied to as well; it may hold a password.
    """

    study: Path
    overrides: tuple[str, ...] = ()
    runs: Path = Path("runs")
    workers: int | None = None
    data: Mapping[str, Path] = field(default_factory=dict)
    device: str | None = None
    retry_failed: bool = False
    retry_stale: bool = False
    keep_weights: bool = False
    smoke: bool = False
    per_device: int | None = None
    executor: str = LOCAL
    ray: RayRequest = field(default_factory=RayRequest)
    slurm: tuple[str, ...] = ()
    against: Path | None = None
    storage: str | None = field(default=None, repr=False)
