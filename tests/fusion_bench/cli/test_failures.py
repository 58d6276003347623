"""Failures of cells, workers and disks: each is reported, and no finished result is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command_line import CommandLine, environment, finished, train
from fusion_bench.spec.load import read_study
from fusion_bench.study.plan import confirm_cells
from toys import STUDY, study_file

# MLflow calls what SQLAlchemy gives up.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

MODULE = """
import os, signal, sys, time
from typing import ClassVar
import torch
from fusion_bench.contract import Citation, FusionModule

class Rogue(FusionModule):
    citation: ClassVar = Citation("Rogue", "Nobody", "tests", 2026, "")
    width: ClassVar = None
    listens: ClassVar = "sentence"
    position_code: ClassVar = "none"

    @classmethod
    def search_space(cls, visual_dim, language_dim):
        return {}

    def __init__(self, visual_dim, language_dim):
        super().__init__()
        self.out_dim = visual_dim
        self.project = torch.nn.Linear(language_dim, visual_dim)
        self.ballast = torch.nn.Parameter(torch.zeros(BALLAST))

    def forward(self, visual, language):
        ACT
        return visual * self.project(language.sentence)[:, :, None, None]
"""
"""A module in one file, with something of its own to do."""


def with_rogues(folder: Path, *, ballast: int = 1, **acts: str) -> Path:
    """A toy study of ``product`` and of modules that each do something of their own; a cell is tried once."""
    arms = []
    for label, act in acts.items():
        (folder / f"{label}.py").write_text(MODULE.replace("ACT", act).replace("BALLAST", str(ballast)))
        arms.append(f"  {label}: {{module: {label}.py}}\n")
    text = STUDY.replace('  weaker: {module: "toys:Product", gain: 0.5}\n', "".join(arms))
    # The rest is of this project: a cell or a text encoder of others has a process of its own, which starts slowly.
    text = text.replace('"toys:Product"', "film").replace('"toys:MeanText"', "gru, embedding: 8, hidden: 8")
    return study_file(folder, text.replace("seeds: [0, 1]", "seeds: [0]") + "limits: {retries: 0}\n")


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_cell_and_no_other(tmp_path: Path, cli: CommandLine, runs: Path) -> None:
    file = with_rogues(
        tmp_path,
        killed="os.kill(os.getpid(), signal.SIGKILL)",
        leaving="print('tired', file=sys.stderr, flush=True); os._exit(3)",
        # What a module prints, even straight into the pipe of the worker's own events, disturbs nothing.
        talking="print('hello'); os.write(1, b'{}\\n')",
    )
    result = cli("run", file, "--runs", runs, "--workers", 1, "--device", "cpu")
    assert result.code == 1, result.err
    assert result.out.splitlines()[-1] == "2 of 4 cells done, 2 failed"
    (_, killed, leaving, talking) = confirm_cells(read_study(file).arms, (0,))
    for cell, how in (
        (killed, "SIGKILL (often: out of memory)"),
        (leaving, "exit code 3; last line of its log: tired"),
    ):
        assert f"failed: {cell.arm}, seed 0: its worker died with {how}\n" in result.out
        assert how in (runs / "cells" / cell.id / "failed.json").read_text()
        assert cell.id not in finished(runs)
    assert talking.id in finished(runs)
    assert len(finished(runs)) == 2
    report = (runs / "studies" / "toy" / "report" / "report.md").read_text()
    assert report.count("its worker died with") == 2
    assert any("hello" in log.read_text() for log in (runs / "studies" / "toy" / "logs").glob("*.log"))


FULL = """
import resource, signal, sys
from fusion_bench.cli.main import main

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
largest = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
main(sys.argv[2:])
"""
"""The command line on a machine where no file may grow beyond a size; writing fails as on a full disk."""


def on_a_full_disk(largest: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FULL, str(largest), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment())


@pytest.mark.slow
def test_a_full_disk_while_a_cell_is_written(tmp_path: Path, cli: CommandLine, runs: Path) -> None:
    # The weights of the rogue alone are larger than what the disk takes.
    file = with_rogues(tmp_path, ballast=4_000_000, rogue="pass")
    options = ("--runs", runs, "--workers", 1, "--device", "cpu", "--keep-weights")
    ran = on_a_full_disk(8_000_000, "run", file, *options)
    assert ran.returncode == 1, ran.stderr
    assert "rogue seed 0 FAILED: the disk is full" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "1 of 2 cells done, 1 without a result"
    assert "1 cells have no result yet" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr
    done = finished(runs)
    assert len(done) == 1
    (left,) = {folder.name for folder in (runs / "cells").iterdir()} - done
    # Neither a result nor a failure nor half a file is left; the next run trains it.
    assert {file.name for file in (runs / "cells" / left).iterdir()} <= {"config.json", "lease.1"}
    assert train(file, runs).trained == 1


@pytest.mark.slow
def test_a_disk_too_full_for_the_plan_itself(tmp_path: Path, runs: Path) -> None:
    file = study_file(tmp_path)
    done = {cell.id for cell in train(file, runs, "seeds=[0]").cells}
    ran = on_a_full_disk(500, "run", file, "--runs", runs, "--workers", 1, "--device", "cpu")
    assert ran.returncode == 2
    assert "File too large; finished cells are kept" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert finished(runs) == done
    assert train(file, runs).trained == 2


def said_so_far(out: Path) -> set[str]:
    """The first four words of each line that a run has printed."""
    return {" ".join(line.split()[:4]) for line in out.read_text().splitlines()}


@pytest.mark.slow
def test_ctrl_c_stops_everything_and_keeps_what_is_done(tmp_path: Path, runs: Path) -> None:
    file = with_rogues(tmp_path, rogue="time.sleep(0.5)")
    # Where tests run in the background, Ctrl-C comes ignored; at a terminal it does not.
    start = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from fusion_bench.cli.main import main; main()"
    )
    command = [sys.executable, "-c", start, "run", str(file), "--runs", str(runs), "--workers", "2"]
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            [*command, "--device", "cpu"], stdout=out, stderr=err, env=environment(), start_new_session=True
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (
            {"product seed 0 done", "rogue seed 0 started"} <= said_so_far(tmp_path / "out")
        ):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
        assert process.wait(60) == 130
    assert (tmp_path / "err").read_text().splitlines() == [
        "stopped while training rogue seed 0; finished cells are kept, run the command again to continue"
    ]
    assert "Traceback" not in (tmp_path / "out").read_text()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nobody is left
    (product, rogue) = confirm_cells(read_study(file).arms, (0,))
    assert finished(runs) == {product.id}
    assert not (runs / "cells" / rogue.id / "failed.json").exists()


def test_a_lost_journal_and_a_lost_done_are_made_again(tmp_path: Path, cli: CommandLine, runs: Path) -> None:
    file = study_file(tmp_path)
    cells = train(file, runs).cells
    (runs / "cells" / cells[0].id / "DONE").unlink()
    (runs / "studies" / "toy" / "journal.log").unlink()
    result = cli("run", file, "--runs", runs, "--workers", 1, "--device", "cpu")
    assert result.code == 0, result.err
    assert result.out.splitlines()[1] == "4 cells: 3 done, 1 waiting"
    assert result.out.splitlines()[-1] == "4 of 4 cells done"
    assert result.out.count(" started") == 1
    assert finished(runs) == {cell.id for cell in cells}
    assert (runs / "studies" / "toy" / "journal.log").exists()


def test_a_run_without_every_result_ends_with_1(tmp_path: Path, cli: CommandLine, runs: Path) -> None:
    text = STUDY.replace('"toys:Product", gain: 0.5', '"toys:Explodes"').replace(
        "seeds: [0, 1]", "seeds: [0]"
    )
    options = ("--runs", runs, "--workers", 1, "--device", "cpu")
    some = cli("run", study_file(tmp_path, text), *options)
    assert (some.code, some.out.splitlines()[-1]) == (1, "1 of 2 cells done, 1 failed")
    # What the run found is reported; a report of it is no failure.
    assert cli("report", tmp_path / "toy.yaml", "--runs", runs).code == 0
    # Nothing at all: the reason, the count, no report.
    none = cli("run", study_file(tmp_path, text), "--set", "arms.product=null", *options)
    assert (none.code, none.out.splitlines()[-1]) == (1, "0 of 1 cells done, 1 failed")
    assert none.err.startswith("no cell of the study 'toy' is finished: the loss was not finite")
    assert len(none.err.splitlines()) == 1
    # The arm that fails is left out, so nothing is missing; and a stale cell is a missing result.
    good = ("--set", "arms.weaker=null")
    assert cli("run", tmp_path / "toy.yaml", *good, *options).code == 0
    (cell,) = finished(runs)
    provenance = runs / "cells" / cell / "provenance.json"
    provenance.write_text(provenance.read_text().replace('"module": "', '"module": "not'))
    stale = cli("run", tmp_path / "toy.yaml", *good, *options)
    assert (stale.code, stale.out.splitlines()[-1]) == (1, "0 of 1 cells done, 1 stale")
