"""The outcome of a finished cell: its deterministic result, its timing, its provenance and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from fusion_bench.processes import UseOfMachine


@dataclass(frozen=True)
class ArmCosts:
    """The cost of an arm for one sample.

    Attributes:
        fusion_parameters, fusion_multiply_adds: of the fusion modules and adapters, which the budget counts.
        around_parameters, around_multiply_adds: of the backbone (where it is trained), text encoder and head.
    """

    fusion_parameters: int
    fusion_multiply_adds: int
    around_parameters: int
    around_multiply_adds: int


@dataclass(frozen=True)
class CellResult:
    """The deterministic values of a cell: the same settings and sources give the same values.

    Attributes:
        metrics: value by split and name (``test/accuracy``).
        selection: value by name on the selection split.
        epochs: how many were trained; ``best_epoch``: the one whose weights were kept, from 1.
        costs: see `ArmCosts`.
        vocabulary: how many words the text encoder distinguishes.
        outputs: how many outputs the task's head has.
        train_samples: samples of the training split.
        words: what the text encoder says about its words; empty where it says nothing.
        data_warnings: see `fusion_bench.training.cell_data.CellData`.
    """

    metrics: Mapping[str, float]
    selection: Mapping[str, float]
    epochs: int
    best_epoch: int
    costs: ArmCosts
    vocabulary: int
    outputs: int
    train_samples: int
    words: str = ""
    data_warnings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds and memory of a cell, which differ from run to run.

    Attributes:
        train_seconds, evaluation_seconds: how long it took.
        peak_bytes: the most memory that its process had, without mapped files; 0 if it was not looked at.
        peak_gpu_bytes: the most that torch had reserved on the GPU; 0 on a CPU.
        usage: what its process used over time; empty in a cell of an earlier version.
    """

    train_seconds: float
    evaluation_seconds: float
    peak_bytes: int = 0
    peak_gpu_bytes: int = 0
    usage: tuple[UseOfMachine, ...] = ()

    @property
    def seconds(self) -> float:
        """Training and evaluation together."""
        return self.train_seconds + self.evaluation_seconds


@dataclass(frozen=True)
class SourceDigests:
    """Digests of a cell's source code: of its fusion module and of the harness's numerics."""

    module: str
    numerics: str


@dataclass(frozen=True)
class Circumstances:
    """The versions, device and data that cells must share to be compared; their sources are compared with today's.

    Attributes:
        torch, timm: versions.
        device_kind: ``cpu`` or ``cuda``.
        data: SHA-256 of the data set's manifest; of a built-in one it also holds the sizes of the images.
    """

    torch: str
    timm: str
    device_kind: str
    data: str


@dataclass(frozen=True)
class Provenance:
    """The origin of a cell's numbers.

    Attributes:
        module, numerics: see `SourceDigests`.
        torch, timm, python, numpy: versions.
        device_kind: ``cpu`` or ``cuda``; ``device``: the processor's name.
        data: SHA-256 of the data set's manifest.
        weights: SHA-256 of the backbone's initial weights; empty without a backbone.
        threads: torch's threads.
        platform: the operating system.
        start: SHA-256 of the weights that the cell started from; empty for one trained from scratch.
        files: digests of the files that ``data`` covers, by name (`fusion_bench.samples.dataset.DataSet.contents`);
            empty for a cell recorded before they were listed.
        weights_file: SHA-256 of the file that the initial weights were read from; empty without one.
    """

    module: str
    numerics: str
    torch: str
    timm: str
    device_kind: str
    data: str
    weights: str
    device: str
    threads: int
    python: str
    numpy: str
    platform: str
    start: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    weights_file: str = ""

    @property
    def sources(self) -> SourceDigests:
        """The digests of the source code that the cell ran."""
        return SourceDigests(self.module, self.numerics)

    @property
    def circumstances(self) -> Circumstances:
        """The values that must be equal for cells to be compared with each other."""
        return Circumstances(self.torch, self.timm, self.device_kind, self.data)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything that a finished cell leaves in its folder.

    Attributes:
        result: see `CellResult`.
        samples, curves: see `fusion_bench.training.fit.result.TrainingResult`.
        timing: see `Timing`; ``provenance``: see `Provenance`.
        predictions: ``split``, ``sample`` and ``prediction`` on the splits whose truth is not published; no report
            reads them. None where the data set names no such split.
    """

    result: CellResult
    samples: pd.DataFrame
    curves: pd.DataFrame
    timing: Timing
    provenance: Provenance
    predictions: pd.DataFrame | None = None
