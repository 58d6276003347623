"""The scheduler as pilots need it: it starts arrays of them, and says which wait and which run."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from fusion_bench.errors import FusionBenchError, bounded_line

_LOG = logging.getLogger(__name__)
_SECONDS = 60.0
_USUAL_LARGEST_ARRAY = 1001  # Slurm's own default of MaxArraySize
_ENDING = frozenset({"COMPLETING"})
_EXTRA = "slurm"


class Cluster(Protocol):
    """Starts pilots and finds them again; all of them belong to one folder."""

    def submit(self, pilot: Callable[[], object], count: int) -> None:
        """Submit so many pilots.

        Raises:
            FusionBenchError: the scheduler refuses them.
        """
        ...

    def states(self) -> Mapping[str, str] | None:
        """Return by job id ``RUNNING``, or why it does not run; None if the scheduler gives no answer now.

        Pilots of earlier coordinators are among them; those that have ended are not.

        Raises:
            FusionBenchError: there is no scheduler.
        """
        ...

    def cancel_waiting(self) -> None:
        """Take the pilots back that have not begun."""
        ...


@dataclass(frozen=True)
class SlurmCluster:
    """Slurm: submitit writes and submits the arrays, ``squeue`` finds the pilots by the name of their jobs.

    Attributes:
        name: the name of the jobs, which no other folder's pilots have.
        logs: the folder of what submitit writes and pilots print.
        parameters: submitit's parameters of ``sbatch``, by name.
    """

    name: str
    logs: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def submit(self, pilot: Callable[[], object], count: int) -> None:
        """Submit so many pilots, as arrays of at most ``MaxArraySize``."""
        submitit = imported_submitit()
        largest = self._largest_array()
        try:
            with _environment_of_no_job(submitit):
                executor = submitit.SlurmExecutor(self.logs)
                executor.update_parameters(**self._all_parameters())
                while count:
                    size = min(count, largest)
                    with executor.batch():
                        for _ in range(size):
                            executor.submit(pilot)
                    count -= size
        except (RuntimeError, OSError, ValueError) as error:  # submitit's errors are RuntimeErrors
            raise FusionBenchError(
                f"Slurm did not take the pilots: {bounded_line(str(error))}; see --slurm KEY=VALUE"
            ) from error

    def states(self) -> Mapping[str, str] | None:
        """See `Cluster`."""
        if shutil.which("squeue") is None:
            raise FusionBenchError(
                "there is no Slurm here (the command squeue is not found): run this on a machine that submits jobs, "
                "such as the cluster's login node"
            )
        answer = _answer(
            "squeue",
            "--noheader",
            "--array",
            f"--user={os.getuid()}",
            f"--name={self.name}",
            "--format=%i %T %r",
        )
        if answer is None:
            return None
        jobs = [line.split(maxsplit=2) for line in answer.splitlines() if len(line.split()) >= 2]
        return {
            job: state if state == "RUNNING" or not why else f"{state} ({why[0]})"
            for job, state, *why in jobs
            if state not in _ENDING
        }

    def cancel_waiting(self) -> None:
        """See `Cluster`."""
        _answer("scancel", f"--user={os.getuid()}", f"--name={self.name}", "--state=PENDING")

    def _all_parameters(self) -> dict[str, Any]:
        """Return the parameters of sbatch.

        A step does not inherit the number of cores of its job since Slurm 22.05. A job is put back into the queue
        when it is preempted or its node fails.
        """
        given = dict(self.parameters)
        step = [f"--cpus-per-task={given['cpus_per_task']}"] if "cpus_per_task" in given else []
        return {
            **given,
            "job_name": self.name,
            "srun_args": [*step, *given.get("srun_args", [])],
            "additional_parameters": {"requeue": True},
        }

    @staticmethod
    def _largest_array() -> int:
        for line in (_answer("scontrol", "show", "config") or "").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "MaxArraySize" and value.strip().isdecimal():
                return max(1, int(value))
        return _USUAL_LARGEST_ARRAY


def imported_submitit() -> ModuleType:
    """Return the package submitit.

    Raises:
        FusionBenchError: it is not installed.
    """
    try:
        import submitit  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise FusionBenchError(
            "the executor slurm needs the package submitit: pip install "
            f"'laconv-fusion-bench[{_EXTRA}]', or pip install submitit"
        ) from error
    return submitit


@contextmanager
def _environment_of_no_job(submitit: ModuleType) -> Iterator[None]:
    """Hide what this process's own job tells it, if it runs in one; pilots would take it for theirs."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    kept = {name: value for name, value in os.environ.items() if name in {"SLURM_CONF"} or "SBATCH" in name}
    with submitit.helpers.clean_env():
        os.environ.update(kept)
        yield


def _answer(*command: str) -> str | None:
    """Return what a command of Slurm prints; None if it fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)  # noqa: S603 - no shell
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        _LOG.warning("%s gives no answer: %s", command[0], bounded_line(str(said)))
        return None
    return done.stdout
