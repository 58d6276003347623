"""The check of everything that needs a GPU, at toy size on the CPU of a machine without most packages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from bare_machine import bare_environment
from fusion_bench.spec.load import read_study
from fusion_bench.study.archive import export_cells, import_cells
from fusion_bench.study.plan import confirm_cells
from toys import STUDY, study_file

SCRIPT = Path(__file__).parents[2] / "tools" / "gpu_check.sh"
THREE_ARMS = STUDY.partition("arms:")[0].replace(
    'encoder: "toys:MeanText"', "encoder: gru, embedding: 8, hidden: 4"
) + (
    "arms: {film: {module: film}, concat: {module: concat, dropout: 0.0}, hadamard: {module: hadamard}}\n"
    "seeds: [0]\n"
)


def run(environment: Mapping[str, str], *arguments: object) -> tuple[int, list[str]]:
    """Run the script; return its exit code and the lines that it printed."""
    ran = subprocess.run(
        ["bash", str(SCRIPT), *map(str, arguments)],
        env={"PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, (ran.stdout + ran.stderr).splitlines()


@pytest.mark.slow
def test_every_part_runs_on_a_bare_machine_and_the_cells_come_home(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path, THREE_ARMS))
    cells = confirm_cells(study.arms, study.seeds)
    exported, out = tmp_path / "exported", tmp_path / "out"
    assert export_cells(cells, exported, tmp_path) == 3

    code, lines = run(bare_environment(tmp_path), out, "--toy", "--cells", exported)
    assert code == 0, lines
    parts = [line.partition(": done in ")[0] for line in lines[:-1]]
    assert parts == ["agreement", "tests", "operator", "step", "peers", "training"]
    assert (out / "outcome.txt").read_text(encoding="utf-8").splitlines() == lines

    assert "DIFFERS" not in (out / "agreement.log").read_text(encoding="utf-8")
    rows = {
        name: json.loads((out / f"{name}.json").read_text())["rows"] for name in ("operator", "step", "peers")
    }
    assert {row["compile"] for row in rows["step"]} == {"none", "reduce-overhead"}
    assert [row["loop"] for row in rows["peers"]] == ["harness", "minimal", "public style"]
    assert {row["row"]["implementation"] for row in rows["operator"]} >= {
        "torch",
        "torch.compile of the reference",
    }

    assert not list(exported.glob("cells/*/DONE"))  # what was given is as it was
    assert set(import_cells(out, tmp_path / "runs").taken) == {cell.id for cell in cells}
    assert not (out / "cache").exists()


@pytest.mark.slow
def test_a_part_that_cannot_run_is_told_and_the_others_run(tmp_path: Path) -> None:
    """Without pandas only the operator can be measured."""
    environment = bare_environment(tmp_path, "pandas", "pytest")
    code, lines = run(environment, tmp_path / "out", "--toy", "--cells", tmp_path)
    assert code == 2  # a folder of cells that is none

    code, lines = run(environment, tmp_path / "out", "--toy")
    assert code == 1
    assert [line.partition(":")[0] for line in lines] == [
        *("agreement", "tests", "operator", "step", "peers", "training"),
        "not everything ran, or a goal is missed",
    ]
    assert lines[0].startswith("agreement: done in")
    assert lines[1].startswith("tests: left out, because they need pytest and pandas")
    assert lines[2].startswith("operator: done in")
    assert lines[3] == "step: not run; this Python lacks pandas (pip install pandas)"
    assert lines[5] == "training: not run; name the exported cells with --cells"


def test_a_missed_goal_and_a_part_that_is_cut_off_do_not_stop_the_others(tmp_path: Path) -> None:
    """A shell script stands for Python: every package is there, and two parts end badly."""
    python, exported = tmp_path / "python", tmp_path / "exported"
    (exported / "cells" / "0123456789abcdef").mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "*gpu.training\\ step*) echo '- training of film: MISSED'; echo '- of laconv: reached'; exit 1 ;;\n"
        "*gpu.training\\ peers*) exit 124 ;;\n"  # what `timeout` returns
        "*laconv.bench.gpu*) echo 'no memory' >&2; exit 3 ;;\n"
        "esac\n"
    )
    python.chmod(0o755)
    code, lines = run({**os.environ, "PYTHON": str(python)}, tmp_path / "out", "--cells", exported)
    assert code == 1
    assert [re.sub(r"(after|in) \d+ s", "", line) for line in lines] == [
        "agreement: done ",
        "tests: done ",
        "operator: failed with exit code 3 : no memory",
        "step: failed with exit code 1 : - training of film: MISSED",
        "peers: cut off ; what it has measured is kept",
        "training: done ",
        "not everything ran, or a goal is missed",
    ]


def test_the_time_limits_leave_room_in_eight_minutes() -> None:
    limits = [int(seconds) for seconds in re.findall(r"^ *part \w+ (\d+) ", SCRIPT.read_text(), re.MULTILINE)]
    assert len(limits) == 6
    assert sum(limits) <= 450


def test_a_mistake_in_the_call_shows_how_to_call() -> None:
    for wrong in ((), ("one", "two"), ("out", "--fast"), ("out", "--cells")):
        code, lines = run(os.environ, *wrong)
        assert code == 2
        assert lines == ["#   tools/gpu_check.sh OUT [--cells EXPORT] [--device cuda:1] [--toy]"]
