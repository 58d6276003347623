"""Cells that are drawn, not trained: an executor whose cells have a known accuracy, for studies of many cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fusion_bench.cells.events import CellFailed, CellFinished, CellStarted, WorkerEvent
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.result import Outcome
from fusion_bench.results.looks import LookTaker
from fusion_bench.spec.load import read_study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.training.paths import RunPaths
from held_cells import fail_cell, finish_cell
from toys import study_file

LOOKS_STUDY = """\
version: 1
name: staged
title: A study with looks
data: {name: "toys:Squares", image_size: [32, 32]}
backbone: {name: test_vit, weights: random, frozen: true}
text: {encoder: "toys:MeanText"}
fusion: {width: 8, depth: 1}
head: {width: 8, hidden: 8}
train: {epochs: 1, batch_size: 16, learning_rate: 0.01}
controls: [prior]
arms:
  product: {module: "toys:Product"}
  poor: {module: "toys:Product", gain: 0.5}
  equal: {module: "toys:Product", gain: 0.75}
seeds: {min: 3, max: 8, stop: decided}
"""
"""Of its arms ``poor`` (gain 0.5) is far behind the reference ``product``, and ``equal`` (0.75) is as good."""

ACCURACY = {1.0: 0.7, 0.5: 0.05, 0.75: 0.7, 0.8: 0.7}
"""The expected accuracy of an arm by its gain; that of a control is 0.4."""


@dataclass
class DrawnCells:
    """An executor that trains the first cell of each kind of module and draws the answers of every other.

    Attributes:
        settings: as for every executor.
        failing: says which cells fail, by gain and seed.
        ran: the cells that it was asked for, in order.
        stop_after: raises KeyboardInterrupt once so many cells have ended; None never does.
        templates: an outcome of each kind of module, from which those of other cells are made.
    """

    settings: WorkerSettings
    failing: Callable[[float, int], bool] = lambda gain, seed: False
    ran: list[str] = field(default_factory=list)
    stop_after: int | None = None
    templates: dict[str, Outcome] = field(default_factory=dict)

    def __enter__(self) -> DrawnCells:
        self._inline = InlineExecutor(self.settings)
        return self

    def __exit__(self, *_: object) -> None:
        return

    def prepare(self, cells: Sequence[str], upcoming: Sequence[str] = ()) -> Iterator[WorkerEvent]:
        yield from self._inline.prepare(cells, upcoming)

    def measure(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        yield from self._inline.measure(cells)

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        for cell in cells:
            if self.stop_after is not None and len(self.ran) >= self.stop_after:
                raise KeyboardInterrupt
            self.ran.append(cell)
            yield from self._end(cell)

    def _end(self, cell: str) -> Iterator[WorkerEvent]:
        folder = cell_folder(self.settings.paths.runs, cell)
        config = folder.config()
        gain = config.arm.settings.get("gain", 1.0)
        yield CellStarted(cell)
        if self.failing(float(str(gain)), config.seed):
            fail_cell(folder, "it was made to fail")
            yield CellFailed(cell, "it was made to fail")
            return
        finish_cell(folder, self._drawn(folder, float(str(gain)), config.seed))
        yield CellFinished(cell, {})

    def _drawn(self, folder: CellFolder, gain: float, seed: int) -> Outcome:
        name = folder.config().arm.target.reference
        if name not in self.templates:
            for _ in self._inline.run([folder.id]):
                pass
            self.templates[name] = folder.outcome()
            (folder.path / "DONE").unlink()
        template = self.templates[name]
        expected = ACCURACY[gain] if name.endswith(":Product") else 0.4
        generator = np.random.default_rng([seed, int(100 * gain), len(name)])
        samples = template.samples.copy()
        samples["score"] = (generator.uniform(size=len(samples)) < expected).astype(float)
        samples["prediction"] = samples["truth"].where(samples["score"] == 1, "wrong")
        metrics = {**template.result.metrics}
        for split, rows in samples.groupby("split"):
            metrics[f"{split}/accuracy"] = float(rows["score"].mean())
        result = replace(template.result, metrics=metrics, selection={"accuracy": metrics["val/accuracy"]})
        return replace(template, samples=samples, result=result)


def looks_study(folder: Path, text: str = LOOKS_STUDY) -> Path:
    """Write the study file and return its path."""
    return study_file(folder, text)


def train_with_looks(file: str, runs: str) -> None:
    """Run a study with looks in this process, with real cells: a program that a test kills."""
    study, paths = read_study(Path(file)), RunPaths(Path(runs), {}, {})
    executor = InlineExecutor(WorkerSettings(paths, 1, threads=1))
    StudyRun(study, paths, lambda: executor, SilentObserver(), RunOptions(), LookTaker(study, paths)).run()


def seeds_by_arm(cells: Sequence[tuple[str, int]]) -> Mapping[str, list[int]]:
    """Return the seeds of each arm, of pairs of arm and seed."""
    found: dict[str, list[int]] = {}
    for arm, seed in cells:
        found.setdefault(arm, []).append(seed)
    return found
