"""Worker processes without torch: they speak the protocol of workers and do for each cell what a test asks for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.folder import cell_folder
from fusion_bench.registry import Target
from fusion_bench.training.config import CellConfig, Component
from fusion_bench.training.paths import RunPaths
from toys import toy_config

OWN_TEXT = Component(Target("fusion_bench.encoders.text:GruEncoder", name="gru"))
PROGRAM = """
import json, os, signal, subprocess, sys, time

def say(event, **fields):
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\\n")

acts = json.load(open("acts.json"))
for line in sys.stdin:
    ((kind, cell),) = json.loads(line).items()
    say("CellStarted", cell=cell)
    with open(f"started-{cell}", "a") as started:
        started.write(f"{os.getpid()}\\n")
    attempt = len(open(f"started-{cell}").readlines())
    answered = False
    exec(acts[cell])
    if answered:
        continue
    if kind == "prepare":
        say("CellPrepared", cell=cell)
    elif kind == "measure":
        say("CellMeasured", cell=cell, milliseconds=1.0)
    else:
        say("CellFinished", cell=cell, metrics={})
"""
"""The program of a worker; an act may use ``say``, ``cell`` and ``attempt``: how often a worker started the cell.

It sets ``answered`` if it told by itself how the cell ended.
"""


@dataclass(frozen=True)
class FakeSettings(WorkerSettings):
    """Settings whose workers are fake ones; ``acts`` is code by cell id, ``before`` runs before any request."""

    acts: Mapping[str, str] = field(default_factory=dict)
    before: str = ""

    def command(self) -> list[str]:
        runs = self.paths.runs
        (runs / "acts.json").write_text(json.dumps(dict(self.acts)), encoding="utf-8")
        return [sys.executable, "-c", f"import os; os.chdir({str(runs)!r})\n{self.before}\n{PROGRAM}"]

    def pids(self, config: CellConfig) -> list[int]:
        """Return the ids of the processes that started a cell."""
        file = self.paths.runs / f"started-{config.id}"
        return [int(line) for line in file.read_text().split()] if file.exists() else []


def fake_settings(runs: Path, acts: Sequence[tuple[CellConfig, str]], workers: int = 1) -> FakeSettings:
    """Write the folders of cells and return settings whose workers act so for each."""
    for config, _ in acts:
        cell_folder(runs, config.id).write_config(config)
    by_id = {config.id: act for config, act in acts}
    return FakeSettings(RunPaths(runs, {}, {}), workers, threads=1, acts=by_id)


def own_cell(seed: int = 0) -> CellConfig:
    """Return a cell with a module of this project."""
    own = Component(Target("fusion_modules.film:FiLM", name="film"))
    return replace(toy_config(seed=seed), arm=own, text=OWN_TEXT)


def foreign_cell(seed: int = 0) -> CellConfig:
    """Return a cell with a module from a file."""
    return replace(toy_config(seed=seed), arm=Component(Target("file:X", "class X: ...")), text=OWN_TEXT)
