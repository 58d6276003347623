"""The options of ``--slurm KEY=VALUE``: submitit's parameters of sbatch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_bench.cells.executors.slurm.cluster import imported_submitit
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import did_you_mean

_NUMBERS = frozenset(
    {
        "array_parallelism",
        "cpus_per_gpu",
        "cpus_per_task",
        "gpus_per_node",
        "gpus_per_task",
        "signal_delay_s",
        "time",
    }
)
_LISTS = frozenset({"setup", "srun_args", "teardown"})
_OURS = {
    "additional_parameters": "write each option of sbatch by its own name",
    "job_name": "pilots are found again by the name of their jobs",
    "nodes": "a pilot works on one node; --workers is the number of pilots",
    "ntasks_per_node": "a pilot is one task; --workers is the number of pilots",
    "num_gpus": "write gpus_per_node",
    "use_srun": "pilots are started with srun",
}
_GPU_KEYS = frozenset({"cpus_per_gpu", "gpus_per_node", "gpus_per_task", "mem_per_gpu"})
_MINUTES = 240
_SIGNAL_SECONDS = 90
_SECONDS_TO_START = 30


def slurm_parameters(pairs: Sequence[str], threads: int) -> dict[str, Any]:
    """Return the parameters that ``KEY=VALUE`` texts name, and those that every pilot has.

    Args:
        pairs: the texts; ``setup``, ``teardown`` and ``srun_args`` may be repeated.
        threads: the number of cores of a pilot unless the texts say otherwise.

    Raises:
        FusionBenchError: a text has not this form, or its key or value is not known.
    """
    known = imported_submitit().SlurmExecutor._valid_parameters() - set(_OURS)
    found: dict[str, Any] = {"time": _MINUTES, "cpus_per_task": threads, "signal_delay_s": _SIGNAL_SECONDS}
    given = set[str]()
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        key = key.lstrip("-").replace("-", "_")
        if not equals or not key or not value:
            raise FusionBenchError(f"--slurm {pair}: write KEY=VALUE, for example --slurm partition=gpu")
        if key in _OURS:
            raise FusionBenchError(f"--slurm {pair}: {key} cannot be set: {_OURS[key]}")
        if key not in known:
            raise FusionBenchError(
                f"--slurm {pair}: sbatch has no parameter {key!r}{did_you_mean(key, known)}"
            )
        if key in given and key not in _LISTS:
            raise FusionBenchError(f"--slurm {pair}: {key} is given twice")
        found[key] = [*found.get(key, []), value] if key in _LISTS else _value(key, value)
        given.add(key)
    return found


def pilot_minutes(parameters: Mapping[str, Any]) -> float:
    """Return for how long a pilot begins cells, from the time of its job: the job is warned before its end."""
    seconds = 60.0 * parameters["time"] - parameters["signal_delay_s"] - _SECONDS_TO_START
    return max(0.0, float(seconds) / 60)


def wants_gpu(parameters: Mapping[str, Any]) -> bool:
    """Return True if the parameters ask for a GPU."""
    return bool(_GPU_KEYS & set(parameters)) or str(parameters.get("gres", "")).startswith("gpu")


def _value(key: str, value: str) -> int | str | bool:
    if key in _NUMBERS:
        if not value.isascii() or not value.isdecimal() or int(value) == 0:
            unit = " of minutes" if key == "time" else ""
            raise FusionBenchError(f"--slurm {key}={value}: write a whole number{unit}, for example {key}=60")
        return int(value)
    return True if value == "true" else value
