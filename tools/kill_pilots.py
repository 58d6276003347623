"""Kill pilots, their workers and their coordinator at random, and check that the study does not notice.

``python tools/kill_pilots.py FOLDER --kills 20 --cells 40`` trains a toy study twice: undisturbed in this process and
with pilots that submitit's local executor starts and that are killed. Every cell must have exactly one outcome with
the same bytes, and no process may be left. The kills and the outcome are printed.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_ROOT = Path(__file__).resolve().parents[1]
_SUPPORT = str(_ROOT / "tests" / "support")
if _SUPPORT not in sys.path:
    sys.path.append(_SUPPORT)

import toys  # noqa: E402 - found by the line above
from fusion_bench.cells.events import CellFinished, CellProgressed, parse_event  # noqa: E402
from fusion_bench.cells.executors.executor import WorkerSettings  # noqa: E402
from fusion_bench.cells.executors.inline import InlineExecutor  # noqa: E402
from fusion_bench.cells.executors.slurm.work_list import WorkFolder  # noqa: E402
from fusion_bench.cells.folder import cell_folder  # noqa: E402
from fusion_bench.errors import FusionBenchError  # noqa: E402
from fusion_bench.spec.load import read_study  # noqa: E402
from fusion_bench.study.observer import SilentObserver  # noqa: E402
from fusion_bench.study.plan import confirm_cells  # noqa: E402
from fusion_bench.study.run import RunOptions, StudyRun  # noqa: E402
from fusion_bench.training.paths import RunPaths  # noqa: E402

_BYTES = ("result.json", "samples.parquet", "curves.parquet")
_SIGNALS = {
    "KILL": signal.SIGKILL,
    "TERM": signal.SIGTERM,
    "STOP": signal.SIGSTOP,
    "USR2": signal.SIGUSR2,  # how Slurm announces the end of a job's time, and pre-emption
}
_ROLES = {
    "pilot": ("submitit.core._submit", ("KILL", "TERM", "STOP", "USR2")),
    "worker": ("fusion_bench.study.worker", ("KILL", "TERM", "STOP")),
    "watcher": ("submitit.local._local", ("KILL", "TERM", "STOP")),
    "coordinator": ("", ("KILL", "TERM", "STOP")),
}
_STUDY = """
version: 1
name: toy
title: A toy study
data: {{name: "toys:Squares", image_size: [32, 32]}}
backbone: {{name: test_vit, weights: random, frozen: true}}
text: {{encoder: gru}}
fusion: {{width: 8, depth: 1}}
head: {{width: 8, hidden: 8}}
train: {{epochs: {epochs}, batch_size: 16, checkpoint: {{minutes: 0.01}}}}
limits: {{retries: 100}}
controls: false
seeds: [0, 1]
arms:
"""
_ARM = "  arm{number}: {{module: film, train: {{learning_rate: {rate}}}}}\n"
_STOPPED_SECONDS = (0.5, 4.0)
_SECONDS = 3600.0


@dataclass
class Kills:
    """One disturbed run.

    Attributes:
        file: the study.
        runs: the runs folder.
        pilots: the number of pilots.
        todo: the kills, each the role of the victim and the name of the signal.
        cells: the number of cells; the kills are spread over the time that these take.
        chance: decides when, and which of several victims.
        done: how often each kind of process was sent each signal.
        starts: how often a coordinator was started.
    """

    file: Path
    runs: Path
    pilots: int
    todo: list[tuple[str, str]]
    cells: int
    chance: random.Random
    done: collections.Counter[str] = field(default_factory=collections.Counter)
    starts: int = 0
    _coordinator: subprocess.Popen[bytes] | None = None

    def run(self, pause: tuple[float, float]) -> None:
        """Run the study to its end, with a random pause before each kill.

        Args:
            pause: the shortest and the longest.

        Raises:
            RuntimeError: a coordinator ended with an error.
        """
        ends, count = time.monotonic() + _SECONDS, len(self.todo) + 2
        while not self._over():
            if time.monotonic() > ends:
                raise RuntimeError("the study does not end")
            time.sleep(self.chance.uniform(*pause))
            finished = len(list(self.runs.glob("cells/*/DONE")))
            due = finished * count >= (count - 1 - len(self.todo)) * self.cells
            if self.todo and due and self._kill(*self.todo[0]):
                del self.todo[0]

    def _over(self) -> bool:
        """Start a coordinator if there is none; return True once one has ended as it should."""
        code = None if self._coordinator is None else self._coordinator.poll()
        if code == 0:
            return True
        if code is not None and code > 0:
            raise RuntimeError(f"a coordinator ended with exit code {code}")
        if self._coordinator is None or code is not None:
            command = [sys.executable, "-m", "local_pilots", str(self.file), str(self.runs), str(self.pilots)]
            path = os.pathsep.join([_SUPPORT, str(_ROOT), os.environ.get("PYTHONPATH", "")])
            self._coordinator = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                command, env={**os.environ, "PYTHONPATH": path}, start_new_session=True
            )
            self.starts += 1
        return False

    def _kill(self, role: str, name: str) -> bool:
        """Send a signal to a process of a role; return False if there is none."""
        program, _ = _ROLES[role]
        victims = self._found(program) if program else self._living_coordinator()
        if not victims:
            return False
        victim = self.chance.choice(victims)
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(_SIGNALS[name])
            self.done[f"{role} {name}"] += 1
            if name == "STOP":
                time.sleep(self.chance.uniform(*_STOPPED_SECONDS))
                victim.send_signal(signal.SIGCONT)
        return True

    def _living_coordinator(self) -> list[psutil.Process]:
        assert self._coordinator is not None  # noqa: S101 - asked after the start
        return [] if self._coordinator.poll() is not None else [psutil.Process(self._coordinator.pid)]

    def _found(self, program: str) -> list[psutil.Process]:
        return [process for process in processes_about(self.runs) if program in process.cmdline()]


def processes_about(folder: Path) -> list[psutil.Process]:
    """Return the living processes, other than this one, whose command names something in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(str(folder) in part for part in process.cmdline()):
                found.append(process)
    return found


def problems_of(file: Path, runs: Path, undisturbed: Path) -> Iterator[str]:
    """Yield what is wrong with a disturbed run."""
    study = read_study(file, ())
    for cell in confirm_cells(study.arms, study.seeds):
        found, wanted = cell_folder(runs, cell.id), cell_folder(undisturbed, cell.id)
        if found.failed.exists():
            yield f"cell {cell.id} has falsely failed: {found.failed.read_text()}"
        if not found.done:
            yield f"cell {cell.id} is lost"
            continue
        for name in _BYTES:
            if (found.path / name).read_bytes() != (wanted.path / name).read_bytes():
                yield f"cell {cell.id}: {name} differs"
    for cell_id, times in _trainings(runs, study.name).items():
        if times > 1:
            yield f"cell {cell_id} was trained to its end {times} times"
    for process in processes_about(runs):
        with suppress(psutil.Error):
            yield f"process {process.pid} is left: {' '.join(process.cmdline())}"


def _trainings(runs: Path, name: str) -> collections.Counter[str]:
    """Return how often each cell was trained to its end, as far as pilots have told."""
    ends: collections.Counter[str] = collections.Counter()
    folder = WorkFolder(runs / "studies" / name / "slurm" / "local")
    for file in folder.events.iterdir():
        last = set[str]()
        for line in file.read_text(encoding="utf-8").splitlines():
            message = None
            with suppress(FusionBenchError):  # a pilot's own end, or the half line of one that was killed
                message = parse_event(line.partition("\t")[2])
            if isinstance(message, CellProgressed) and message.epoch == message.epochs:
                last.add(message.cell)
            if isinstance(message, CellFinished) and message.cell in last:
                ends[message.cell] += 1
    return ends


def random_kills(count: int, chance: random.Random) -> list[tuple[str, str]]:
    """Return so many kills."""
    roles = chance.choices(list(_ROLES), k=count)
    return [(role, chance.choice(_ROLES[role][1])) for role in roles]


def disturbed(
    folder: Path,
    kills: list[tuple[str, str]],
    *,
    cells: int,
    pilots: int,
    chance: random.Random,
    pause: tuple[float, float],
    epochs: int = 6,
) -> tuple[Kills, list[str]]:
    """Train a toy study undisturbed and disturbed; return what was killed, and what is wrong."""
    # Modules of the project: their cells share a process, so that a kill may hit what comes after another cell.
    arms = [_ARM.format(number=number, rate=round(0.001 * (number + 1), 3)) for number in range(cells // 2)]
    file = toys.study_file(folder, _STUDY.format(epochs=epochs) + "".join(arms))
    study, paths = read_study(file, ()), RunPaths(folder / "undisturbed", {}, {})
    settings = WorkerSettings(paths, workers=1, threads=study.threads)
    StudyRun(study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()
    run = Kills(file, folder / "runs", pilots, list(kills), cells, chance)
    run.run(pause)
    until = time.monotonic() + 60
    while processes_about(run.runs) and time.monotonic() < until:
        time.sleep(0.2)
    return run, list(problems_of(file, run.runs, paths.runs))


def main() -> int:
    """Run the program; the exit code is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--pilots", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began, chance = time.monotonic(), random.Random(given.seed)  # noqa: S311 - no secret
    run, problems = disturbed(
        given.folder.resolve(),
        random_kills(given.kills, chance),
        cells=given.cells,
        pilots=given.pilots,
        chance=chance,
        pause=(0.5, 3.0),
    )
    out = [f"{count} x {name}" for name, count in sorted(run.done.items())]
    sys.stdout.write(
        f"{given.cells} cells, {sum(run.done.values())} kills in {time.monotonic() - began:.0f} s: {', '.join(out)}; "
        f"{run.starts} coordinators\n"
    )
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    sys.stdout.write("nothing is wrong\n" if not problems else f"{len(problems)} things are wrong\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
