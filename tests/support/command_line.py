"""The command line in this process, for tests: what it answers, prints and leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusion_bench.api.study import run_paths
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cli.main import main
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, RunResult, StudyRun
from fusion_bench.training.paths import RunPaths, parse_named_paths


@dataclass(frozen=True)
class Said:
    """Exit code, standard output and standard error of one command."""

    code: int
    out: str
    err: str

    def refusal(self) -> str:
        """The one clear message of a command that was refused; fails if there is more than that."""
        assert self.code == 2, self
        assert "Traceback" not in self.out + self.err
        return self.err.strip()


CommandLine = Callable[..., Said]


def command_line(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """``cli("run", file, "--runs", folder)``; an exception that gets out of it fails the test."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call


def paths_of(study: Study, runs: Path, data: tuple[str, ...] = ()) -> RunPaths:
    """The paths of a study on the CPU; ``data`` are ``NAME=FOLDER`` texts."""
    return run_paths(study, runs, parse_named_paths(list(data)), device="cpu", data_workers=1)


def train(file: Path, runs: Path, *overrides: str, data: tuple[str, ...] = ()) -> RunResult:
    """Train a study in this process, without worker, report or MLflow."""
    study = read_study(file, overrides)
    paths = paths_of(study, runs, data)
    settings = WorkerSettings(paths, workers=1, threads=study.threads)
    return StudyRun(study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()


def finished(runs: Path) -> set[str]:
    """Ids of the cells that are done."""
    return {done.parent.name for done in (runs / "cells").glob("*/DONE")}


def environment() -> dict[str, str]:
    """This process's environment, in which another one finds the toys."""
    tests = str(Path(__file__).parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])}
