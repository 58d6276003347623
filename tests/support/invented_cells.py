"""The cells of a study whose outcomes and events are invented: nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from fusion_bench.cells.events import CellFinished, CellProgressed
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.result import ArmCosts, CellResult, Outcome, Provenance, Timing
from fusion_bench.processes import UseOfMachine
from fusion_bench.results.outcome_tables import cell_state_table, cell_tables, metric_values
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.study.cell_status import CellStatus
from fusion_bench.study.observer import RunEvent, RunPlanned
from fusion_bench.study.plan import PlannedCell, confirm_cells, write_configs
from held_cells import finish_cell

EPOCHS = 3
STUDY = """\
version: 1
name: eight
title: Two arms of four seeds
data: {name: miniclevr, image_size: [32, 64], images: {train: 10, select: 5, evaluate: 60}, questions_per_image: 4}
backbone: {name: test_resnet, layer: 2}
arms:
  film: {module: film}
  concat: {module: concat}
controls: []
seeds: 4
reference: film
"""
_WHERE = Provenance("m", "n", "2", "1", "cpu", "d" * 64, "w", "cpu", 1, "3", "2", "linux")


@dataclass(frozen=True)
class InventedRun:
    """A run of a study of eight cells, event by event.

    Attributes:
        study: the study.
        runs: its runs folder.
    """

    study: Study
    runs: Path

    @classmethod
    def in_folder(cls, folder: Path, runs: Path) -> InventedRun:
        (folder / "eight.yaml").write_text(STUDY)
        return cls(read_study(folder / "eight.yaml"), runs)

    @property
    def cells(self) -> tuple[PlannedCell, ...]:
        return confirm_cells(self.study.arms, self.study.seeds)

    def planned(self) -> RunPlanned:
        write_configs(self.cells, self.runs)
        folders = [cell_folder(self.runs, cell.id) for cell in self.cells]
        states = ["done" if folder.done else "missing" for folder in folders]
        return RunPlanned([CellStatus(cell, state) for cell, state in zip(self.cells, states, strict=True)])

    def trains(self, cell: PlannedCell, epochs: int = EPOCHS) -> Iterator[RunEvent]:
        """The events of so many epochs; a cell that trains them all is written and finishes."""
        for epoch in range(1, epochs + 1):
            yield CellProgressed(cell.id, epoch, EPOCHS, "select/accuracy", self.value(cell, epoch), 1.0)
        if epochs == EPOCHS:
            self.finish(cell)
            yield CellFinished(cell.id, {"test/accuracy": self.value(cell, 9)})

    def value(self, cell: PlannedCell, epoch: int) -> float:
        return (cell.seed + (cell.arm == "film")) / 10 + epoch / 1000

    def finish(self, cell: PlannedCell) -> None:
        """Write the outcome of a cell; the weights of the first are kept."""
        metrics = {"test/accuracy": self.value(cell, 9), "val/accuracy": self.value(cell, EPOCHS)}
        rows = [
            (epoch, epoch * 10, quantity, value)
            for epoch in range(1, EPOCHS + 1)
            for quantity, value in (("train/loss", 1 / epoch), ("select/accuracy", self.value(cell, epoch)))
        ]
        curves = pd.DataFrame(rows, columns=["epoch", "samples_seen", "quantity", "value"])
        samples = {"split": ["test"], "sample": ["q0"], "cluster": ["i0"], "truth": ["yes"]}
        table = pd.DataFrame({**samples, "prediction": ["no"], "score": [0.0]})
        timing = Timing(
            2.0, 1.0, usage=(UseOfMachine(1.0, 0.9, 2_000_000), UseOfMachine(2.0, 1.0, 3_000_000))
        )
        result = CellResult(metrics, metrics, EPOCHS, EPOCHS, ArmCosts(7, 11, 1, 1), 5, 2, 10)
        weights = {"w": torch.ones(2)} if cell == self.cells[0] else None
        finish_cell(cell_folder(self.runs, cell.id), Outcome(result, table, curves, timing, _WHERE), weights)

    def results(self) -> StudyResults:
        """What a report would be made of."""
        statuses = [
            CellStatus(cell, "done" if cell_folder(self.runs, cell.id).done else "missing")
            for cell in self.cells
        ]
        done = [status.cell.id for status in statuses if status.state == "done"]
        outcomes = {cell: cell_folder(self.runs, cell).outcome() for cell in done}
        arms = [
            ArmSummary(arm.label, arm.role, arm.component, arm.factors, "", "words", "none", 7, 11, 1, 1, 2.5)
            for arm in self.study.arms
        ]
        empty = cell_tables(statuses, outcomes, "samples").iloc[:0]
        return StudyResults(
            name="eight",
            title="Two arms of four seeds",
            setup=(),
            primary="accuracy",
            primary_split="test",
            select_split="val",
            evaluate_splits=("test",),
            cluster="image",
            margin=None,
            reference="film",
            arms=tuple(arms),
            cells=cell_state_table(statuses, outcomes),
            values=metric_values(statuses, {cell: outcome.result for cell, outcome in outcomes.items()}),
            samples=empty,
            slices=(),
            curves=cell_tables(statuses, outcomes, "curves"),
            pictures=empty,
            floors=empty,
            expected=empty,
            environment={},
        )
