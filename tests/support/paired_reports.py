"""Published reports of known scores with the origin of their cells, without training."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fusion_bench.cells.result import Provenance
from fusion_bench.reporting.published.publish import save
from fusion_bench.reporting.published.published_cells import CELLS_FILE
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.serialisation import to_json
from fusion_bench.spec.arms import Role
from fusion_bench.training.config import CellConfig, Component
from toys import toy_config

PROVENANCE = Provenance(
    module="m" * 16,
    numerics="n" * 16,
    torch="2.14.1+cpu",
    timm="1.0.31",
    device_kind="cpu",
    data="d" * 64,
    weights="",
    device="Processor A",
    threads=1,
    python="3.11.7",
    numpy="2.4.6",
    platform="Linux",
)


@dataclass(frozen=True)
class DrawnReport:
    """A report to draw: the reference is the first arm.

    Attributes:
        name: of its study.
        skill: the expected score of each arm, by label; its answers depend on label, skill and seed alone.
        controls: the labels of those of them that are controls.
        seeds: of every arm.
        train: settings of ``train``.
        factors: the settings outside the module in which an arm differs as the study says, by label.
        searched: those of them that a search chose.
        origin: changes of the provenance of every cell.
        change: changes the configuration of an arm's cells.
        alter: changes the table of samples.
        results: changes of the results.
        with_cells: whether the origin of the cells is published.
    """

    name: str
    skill: Mapping[str, float]
    controls: Sequence[str] = ()
    seeds: Sequence[int] = (0, 1, 2)
    train: Mapping[str, Any] = field(default_factory=dict)
    factors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    searched: Sequence[str] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[CellConfig], CellConfig] = lambda config: config
    alter: Callable[[pd.DataFrame], pd.DataFrame] = lambda samples: samples
    results: Mapping[str, Any] = field(default_factory=dict)
    with_cells: bool = True

    def config(self, arm: str, seed: int) -> CellConfig:
        """The settings of a cell; the skill stands in the module's settings, so that it counts for the id."""
        own = {key.removeprefix("train."): value for key, value in self.factors.get(arm, {}).items()}
        config = self.change(toy_config(seed=seed, **{**self.train, **own}))
        return replace(config, arm=Component(config.arm.target, {"gain": self.skill[arm], "name": arm}))

    def write(self, folder: Path) -> Path:
        """Publish it into ``folder/NAME`` and return that folder."""
        samples = self.alter(pd.concat([self._samples(*cell) for cell in self._cells()], ignore_index=True))
        keys = pd.DataFrame(self._cells(), columns=["arm", "seed"])
        roles = {arm: self._role(arm) for arm in self.skill}
        ids = [self.config(arm, seed).id for arm, seed in self._cells()]
        keys = keys.assign(role=keys["arm"].map(roles), cell=ids)
        means = (
            samples.groupby(["arm", "seed", "split"], sort=False)["score"].mean().reset_index(name="value")
        )
        results = StudyResults(
            name=self.name,
            title=f"The study {self.name}",
            setup=(("Data", "colours 1, images at 4x4: drawn"), ("Training", f"{dict(self.train)}")),
            primary="accuracy",
            primary_split="test",
            select_split="val",
            evaluate_splits=("test",),
            cluster="image",
            margin=None,
            reference=next(iter(self.skill)),
            arms=tuple(self._summary(arm) for arm in self.skill),
            cells=keys.assign(state="done", reason="", epochs=3.0, best_epoch=3.0, seconds=1.0),
            values=keys.merge(means, on=["arm", "seed"]).assign(metric="accuracy"),
            samples=samples,
            slices=("kind",),
            curves=keys.assign(epoch=1, samples_seen=1, quantity="select/accuracy", value=0.5),
            pictures=pd.DataFrame(columns=["sample", "split", "image", "text", "truth"]),
            floors=pd.DataFrame(columns=["name", "split", "accuracy", "description"]),
            expected=pd.DataFrame(columns=["arm", "metric", "split", "value", "source"]),
            environment={
                "data manifest": self._provenance().data[:16],
                "numerics source": self._provenance().numerics,
                "torch": self._provenance().torch,
                "timm": self._provenance().timm,
                "device": self._provenance().device,
            },
        )
        save(replace(results, **self.results), folder / self.name)
        if self.with_cells:
            self._write_cells(folder / self.name)
        return folder / self.name

    def _cells(self) -> list[tuple[str, int]]:
        return [(arm, seed) for seed in self.seeds for arm in self.skill]

    def _role(self, arm: str) -> Role:
        first = next(iter(self.skill))
        return "reference" if arm == first else "control" if arm in self.controls else "arm"

    def _summary(self, arm: str) -> ArmSummary:
        own = dict(self.factors.get(arm, {}))
        searched = {key: value for key, value in own.items() if key in self.searched}
        summary = ArmSummary(arm, self._role(arm), "film", own, "", "sentence", "none", 10, 20, 30, 40)
        return replace(summary, searched=searched)

    def _samples(self, arm: str, seed: int) -> pd.DataFrame:
        generator = np.random.default_rng([*arm.encode(), seed, round(1000 * self.skill[arm])])
        right = generator.uniform(size=120) < self.skill[arm] + 0.01 * generator.normal()
        table = pd.DataFrame({"sample": [f"q{number:03}" for number in range(120)]})
        return table.assign(
            arm=arm,
            seed=seed,
            split="test",
            cluster=[f"i{number // 2:02}" for number in range(120)],
            kind=["count" if number % 3 else "exist" for number in range(120)],
            truth="yes",
            prediction=np.where(right, "yes", "no"),
            score=right.astype(float),
        )

    def _provenance(self) -> Provenance:
        return replace(PROVENANCE, **self.origin)

    def _write_cells(self, folder: Path) -> None:
        rows = [
            {
                "arm": arm,
                "seed": seed,
                "cell": self.config(arm, seed).id,
                "config.json": json.dumps(self.config(arm, seed).to_json()),
                "provenance.json": json.dumps(to_json(self._provenance())),
            }
            for arm, seed in self._cells()
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / CELLS_FILE)
