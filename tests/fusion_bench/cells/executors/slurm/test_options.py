"""The options of sbatch: what is not known is refused with what to write instead."""

from __future__ import annotations

import sys

import pytest

from fusion_bench.cells.executors.slurm.options import pilot_minutes, slurm_parameters, wants_gpu
from fusion_bench.errors import FusionBenchError

pytest.importorskip("submitit", reason="the extra slurm is not installed")


def test_what_is_given_goes_beside_what_every_pilot_has() -> None:
    pairs = [
        "partition=gpu",
        "time=60",
        "gres=gpu:1",
        "setup=module load cuda",
        "setup=ulimit -n 4096",
        "exclusive=true",
    ]
    assert slurm_parameters(pairs, threads=3) == {
        "partition": "gpu",
        "time": 60,
        "gres": "gpu:1",
        "setup": ["module load cuda", "ulimit -n 4096"],
        "exclusive": True,
        "cpus_per_task": 3,
        "signal_delay_s": 90,
    }


def test_sbatch_s_own_spelling_is_understood() -> None:
    assert slurm_parameters(["--mem-per-cpu=4G"], 1)["mem_per_cpu"] == "4G"


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("partitoin=gpu", "did you mean 'partition'"),
        ("partition", "write KEY=VALUE"),
        ("=gpu", "write KEY=VALUE"),
        ("partition=", "write KEY=VALUE"),
        ("time=4:00:00", "whole number of minutes"),
        ("time=0", "whole number of minutes"),
        ("cpus_per_task=-1", "whole number"),
        ("nodes=2", "--workers is the number of pilots"),
        ("job_name=mine", "found again by the name"),
        ("additional_parameters=x", "by its own name"),
    ],
)
def test_a_wrong_option_is_refused(pair: str, said: str) -> None:
    with pytest.raises(FusionBenchError, match=said) as refused:
        slurm_parameters([pair], 1)
    assert "\n" not in str(refused.value)


def test_an_option_is_given_once_unless_it_is_a_list() -> None:
    with pytest.raises(FusionBenchError, match="twice"):
        slurm_parameters(["time=5", "time=6"], 1)


def test_the_time_of_a_pilot_ends_before_its_job_is_warned() -> None:
    assert pilot_minutes(slurm_parameters(["time=60", "signal_delay_s=30"], 1)) == 59
    assert pilot_minutes(slurm_parameters(["time=1"], 1)) == 0


@pytest.mark.parametrize("pair", ["gres=gpu:a100:1", "gpus_per_node=1", "gpus_per_task=1"])
def test_a_gpu_that_is_asked_for_is_used(pair: str) -> None:
    assert wants_gpu(slurm_parameters([pair], 1))
    assert not wants_gpu(slurm_parameters(["gres=license:1"], 1))


def test_without_submitit_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(FusionBenchError, match=r"pip install 'laconv-fusion-bench\[slurm\]'"):
        slurm_parameters([], 1)
