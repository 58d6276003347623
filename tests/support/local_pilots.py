"""A cluster without a scheduler: submitit's local executor starts pilots as processes of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import submitit

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.slurm.executor import SlurmExecutor
from fusion_bench.cells.executors.slurm.pilot import PilotTimes, SlurmPilot
from fusion_bench.cells.executors.slurm.pool import PilotPool
from fusion_bench.cells.executors.slurm.work_list import WorkFolder
from fusion_bench.spec.load import read_study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, RunResult, StudyRun
from fusion_bench.training.paths import RunPaths

QUICK = PilotTimes(look=0.2, idle=60.0, scan=1.0, ask=1.0, again=3.0)
_PROGRAMS = ("submitit.core._submit", "submitit.local._local")


@dataclass(frozen=True)
class LocalPilots:
    """A `Cluster` whose jobs are processes of this machine, which outlive the process that started them."""

    logs: Path

    def submit(self, pilot: Callable[[], object], count: int) -> None:
        executor = submitit.LocalExecutor(self.logs)
        executor.update_parameters(timeout_min=60, signal_delay_s=5)
        for _ in range(count):
            executor.submit(pilot)

    def states(self) -> Mapping[str, str]:
        processes = self.processes()
        tasks = {process.pid: process for process in processes if _PROGRAMS[0] in process.cmdline()}
        others = {process.pid for process in processes} - set(tasks)
        own = {str(pid) for pid in others}
        for process in tasks.values():
            own.add(str(process.ppid() if process.ppid() in others else process.pid))
        return dict.fromkeys(own, "RUNNING")

    def cancel_waiting(self) -> None:
        """Do nothing: none waits."""

    def processes(self) -> list[psutil.Process]:
        """Return the processes of pilots, and those of submitit that watch over them."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                command = process.cmdline()
                if str(self.logs) in command and any(program in command for program in _PROGRAMS):
                    found.append(process)
        return found


def pilot_pool(settings: WorkerSettings, pilots: int, folder: Path, times: PilotTimes = QUICK) -> PilotPool:
    """Return a pool of local pilots."""
    shared = WorkFolder(folder / "slurm" / "local")
    return PilotPool(
        LocalPilots(shared.logs),
        SlurmPilot(shared, settings, None, times),
        pilots,
        _say,
    )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def run_with_pilots(file: Path, runs: Path, pilots: int, *overrides: str) -> RunResult:
    """Run a study with pilots that submitit's local executor starts."""
    study = read_study(file, overrides)
    paths = RunPaths(runs, {}, {})
    settings = WorkerSettings(paths, workers=1, threads=study.threads, limits=study.limits)
    with pilot_pool(settings, pilots, runs / "studies" / study.name) as pool:

        def make() -> SlurmExecutor:
            return SlurmExecutor(pool, runs, study.seeds)

        return StudyRun(study, paths, make, SilentObserver(), RunOptions()).run()


if __name__ == "__main__":
    run_with_pilots(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
