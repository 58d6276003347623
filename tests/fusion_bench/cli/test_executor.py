"""``run --executor``: what cannot be meant is refused before anything is submitted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from command_line import CommandLine
from toys import study_file

SLURM = ("--executor", "slurm", "--workers", "2")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--executor", "slrum"), "local"),
        (("--executor", "slurm"), "--workers 4"),
        (("--slurm", "time=5"), "for --executor slurm"),
        ((*SLURM, "--slurm", "partitoin=gpu"), "did you mean 'partition'"),
        ((*SLURM, "--slurm", "nodes=2"), "--workers is the number of pilots"),
        ((*SLURM, "--device", "gpu"), "write cpu, cuda or cuda:1"),
    ],
)
def test_a_wrong_option_is_refused(
    tmp_path: Path, cli: CommandLine, options: tuple[str, ...], said: str
) -> None:
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    refusal = cli("run", study_file(tmp_path), "--runs", tmp_path / "runs", *options).refusal()
    assert said in refusal
    assert "\n" not in refusal
    assert not (tmp_path / "runs" / "cells").exists()


def test_without_submitit_it_is_said_how_to_install_it(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    refusal = cli("run", study_file(tmp_path), "--runs", tmp_path / "runs", *SLURM).refusal()
    assert "pip install 'laconv-fusion-bench[slurm]'" in refusal


def test_without_slurm_it_is_said_that_there_is_none(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    refusal = cli("run", study_file(tmp_path), "--runs", tmp_path / "runs", *SLURM).refusal()
    assert "there is no Slurm here" in refusal
