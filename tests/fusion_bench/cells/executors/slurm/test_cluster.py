"""What is handed to Slurm, and what its answers mean; the commands of Slurm are stand-ins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fusion_bench.cells.executors.slurm.cluster import SlurmCluster
from fusion_bench.cells.executors.slurm.options import slurm_parameters
from fusion_bench.errors import FusionBenchError

pytest.importorskip("submitit", reason="the extra slurm is not installed")

SCRIPT = """\
#!/bin/bash

# Parameters
#SBATCH --array=0-1%2
#SBATCH --cpus-per-task=2
#SBATCH --error=FOLDER/%A_%a_0_log.err
#SBATCH --gres=gpu:1
#SBATCH --job-name=fusion-bench-toy
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=FOLDER/%A_%a_0_log.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=240
#SBATCH --wckey=submitit

# setup
module load cuda

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output FOLDER/%A_%a_%t_log.out --error FOLDER/%A_%a_%t_log.err --cpus-per-task=2 \
PYTHON -u -m submitit.core._submit FOLDER
"""


class Commands:
    """Stand-ins for Slurm's commands: each notes how it was called and prints what a test says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        for name in ("srun", "sbatch", "squeue", "scontrol", "scancel"):
            self.answer(name, "")

    def answer(self, name: str, text: str, *, code: int = 0) -> None:
        file = self._folder / name
        (self._folder / f"{name}.text").write_text(text)
        stream = 2 if code else 1
        file.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$*" >> {self._folder}/{name}.calls\n'
            f"[ {name} = sbatch ] && cat $1 >> {self._folder}/scripts\n"
            f"cat {self._folder}/{name}.text >&{stream}\nexit {code}\n"
        )
        file.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        file = self._folder / f"{name}.calls"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def scripts(self) -> str:
        return (self._folder / "scripts").read_text()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    made.answer("sbatch", "Submitted batch job 7\n")
    return made


def work() -> None:
    """Stand for a pilot."""


def cluster(tmp_path: Path, *pairs: str) -> SlurmCluster:
    return SlurmCluster("fusion-bench-toy", tmp_path / "logs", slurm_parameters(pairs, 2))


def test_the_script_is_what_it_was(tmp_path: Path, commands: Commands) -> None:
    cluster(tmp_path, "partition=gpu", "gres=gpu:1", "setup=module load cuda").submit(work, 2)
    found = commands.scripts.replace(str(tmp_path / "logs"), "FOLDER").replace(sys.executable, "PYTHON")
    assert found == SCRIPT


def test_an_array_is_never_larger_than_slurm_allows(tmp_path: Path, commands: Commands) -> None:
    commands.answer("scontrol", "MaxArraySize            = 3\nMaxJobCount             = 10000\n")
    cluster(tmp_path).submit(work, 7)
    sizes = [line.partition("=0-")[2] for line in commands.scripts.splitlines() if "--array" in line]
    assert sizes == ["2%3", "2%3"]
    assert len(commands.calls("sbatch")) == 3  # the last pilot needs no array


def test_the_states_of_pilots_are_read_and_those_that_end_are_left_out(
    tmp_path: Path, commands: Commands
) -> None:
    lines = [
        "7_0 RUNNING None",
        "7_1 PENDING Resources",
        "8 PENDING Nodes required are DOWN",
        "9 COMPLETING None",
        "",
    ]
    commands.answer("squeue", "\n".join(lines))
    assert cluster(tmp_path).states() == {
        "7_0": "RUNNING",
        "7_1": "PENDING (Resources)",
        "8": "PENDING (Nodes required are DOWN)",
    }
    assert "--name=fusion-bench-toy" in commands.calls("squeue")[0]


def test_a_scheduler_that_gives_no_answer_does_not_mean_that_no_pilot_is_left(
    tmp_path: Path, commands: Commands
) -> None:
    commands.answer("squeue", "Unable to contact slurm controller", code=1)
    assert cluster(tmp_path).states() is None


def test_a_refusal_is_one_sentence_with_the_words_of_sbatch(tmp_path: Path, commands: Commands) -> None:
    commands.answer("sbatch", "sbatch: error: invalid partition specified: gpuu\n", code=1)
    with pytest.raises(FusionBenchError, match="invalid partition specified: gpuu") as refused:
        cluster(tmp_path, "partition=gpuu").submit(work, 2)
    assert "\n" not in str(refused.value)


def test_without_slurm_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FusionBenchError, match="srun"):
        cluster(tmp_path).submit(work, 1)
    with pytest.raises(FusionBenchError, match="there is no Slurm here"):
        cluster(tmp_path).states()


def test_pilots_of_a_run_inside_a_job_do_not_take_that_job_for_theirs(
    tmp_path: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "64")
    monkeypatch.setenv("SLURM_CONF", "/etc/other.conf")
    (tmp_path / "bin" / "sbatch").write_text(f"#!/bin/sh\nenv > {tmp_path}/env\necho Submitted batch job 7\n")
    cluster(tmp_path).submit(work, 1)
    seen = (tmp_path / "env").read_text()
    assert "SLURM_CONF=/etc/other.conf" in seen
    assert "SLURM_CPUS_PER_TASK" not in seen
    assert os.environ["SLURM_CPUS_PER_TASK"] == "64"
