"""A real Slurm of one node on loopback, with its own configuration, for tests; it needs root and slurm-wlm, munge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
MaxArraySize={largest_array}
KillWait=5
MpiDefault=none
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str:
    """Return why no Slurm can be started here; empty if one can."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: slurm-wlm and munge)"
    return "" if os.geteuid() == 0 else "only root can start Slurm's daemons"


@dataclass(frozen=True)
class OneNodeSlurm:
    """A running Slurm; `environment` lets commands find it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def ask(self, *command: str) -> str:
        """Return what a command of Slurm prints."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=30
        ).stdout

    def jobs(self) -> list[str]:
        """Return the lines of ``squeue``: job and state."""
        return self.ask("squeue", "--noheader", "--array", "--format=%i %T").split("\n")[:-1]


@contextmanager
def one_node_slurm(folder: Path, largest_array: int = 3) -> Iterator[OneNodeSlurm]:
    """Start munged, slurmctld and slurmd in a folder with a short path; end them, and all that they started."""
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "munge").chmod(0o700)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    configuration = _CONFIGURATION.format(
        host=socket.gethostname().partition(".")[0],
        controller_port=_free_port(),
        node_port=_free_port(),
        folder=folder,
        largest_array=largest_array,
    )
    (folder / "slurm.conf").write_text(configuration)
    slurm = OneNodeSlurm(folder)
    munge = [f"--{name}={folder}/munge/{file}" for name, file in _MUNGE.items()]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        _start(daemons, slurm, ["munged", "--foreground", "--force", "--num-threads=1", *munge])
        _wait_for(folder / "munge" / "socket")
        _start(daemons, slurm, ["slurmctld", "-D", "-c"])
        _start(daemons, slurm, ["slurmd", "-D", "-c"])
        _until_idle(slurm)
        yield slurm
    finally:
        started = [
            child for daemon in daemons for child in psutil.Process(daemon.pid).children(recursive=True)
        ]
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=20)
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _start(daemons: list[subprocess.Popen[bytes]], slurm: OneNodeSlurm, command: list[str]) -> None:
    with (slurm.folder / f"{command[0]}.out").open("w") as log:
        daemons.append(subprocess.Popen(command, env=slurm.environment, stdout=log, stderr=log))


_MUNGE = {
    "key-file": "key",
    "socket": "socket",
    "pid-file": "pid",
    "log-file": "log",
    "seed-file": "seed",
}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(path: Path) -> None:
    for _ in range(200):
        if path.exists():
            return
        time.sleep(0.05)
    raise TimeoutError(f"munged does not start: {path.parent}")


def _until_idle(slurm: OneNodeSlurm) -> None:
    said = ""
    for _ in range(200):
        try:
            said = slurm.ask("sinfo", "--noheader", "--format=%T")
        except subprocess.SubprocessError as error:  # it does not answer yet
            said = str(error)
        if said.strip() == "idle":
            return
        time.sleep(0.1)
    raise TimeoutError(f"Slurm does not start: {said}; see {slurm.folder}")
