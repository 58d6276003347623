"""Kill workers, actors and the coordinator of a study at random, and check that no cell is lost, doubled or changed.

    PYTHONPATH=.:modules:tests/support python tools/kill_test.py FOLDER --executor local --kills 60 --cells 60
    PYTHONPATH=.:modules:tests/support python tools/kill_test.py FOLDER --executor ray --kills 20 --cells 20

Tiny cells are trained once undisturbed, in this process, and once while processes are killed: with SIGKILL, SIGTERM
or a stop of some seconds. A coordinator that was killed is started again. If the study is done before all kills are,
the next round trains it anew. At the end of every round each cell must have one outcome, with the same bytes as in
the undisturbed run, and one trial in Optuna's journal; no cell may have failed, and no process may be left.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import psutil
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.spec.load import read_study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.plan import PlannedCell, confirm_cells
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.training.paths import RunPaths

STUDY = """\
version: 1
name: killed
data: {name: "toys:Squares", image_size: [32, 32]}
backbone: {name: test_vit, weights: random, frozen: true}
text: {encoder: gru, embedding: 8, hidden: 8}
fusion: {width: 8, depth: 1}
head: {width: 8, hidden: 8}
train: {epochs: EPOCHS, batch_size: 16, learning_rate: 0.01}
controls: false
arms:
  film: {module: film}
  concat: {module: concat}
seeds: SEEDS
limits: {retries: 100}
"""
BYTES = ("result.json", "samples.parquet", "curves.parquet")
COORDINATORS = 0.25
"""The share of kills whose target is the coordinator."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
LONGEST_STOP, SECONDS_TO_END, SECONDS_OF_A_ROUND = 4.0, 60.0, 3600.0


@dataclass(frozen=True)
class KillTest:
    """What is killed how often.

    Attributes:
        folder: is made, with the study, the undisturbed run and one runs folder for each round.
        executor: ``local`` or ``ray``.
        kills: how many processes are killed in all.
        coordinators: how many of them may be coordinators.
        cells: how many cells the study has; an even number.
        pause: mean seconds between two kills.
        epochs: of each cell.
        seed: of the choice of processes, signals and pauses.
        options: more options of ``fusion-bench run``.
    """

    folder: Path
    executor: str
    kills: int
    coordinators: int = 20
    cells: int = 60
    pause: float = 4.0
    epochs: int = 20
    seed: int = 0
    options: tuple[str, ...] = ()


@dataclass
class KillCount:
    """What was killed, and what is wrong; a test that is passed has an empty list."""

    kills: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    wrong: list[str] = field(default_factory=list)


def run_kill_test(asked: KillTest) -> KillCount:
    """Run rounds until all kills are done, and return what was killed and what is wrong."""
    study = write_study(asked)
    undisturbed = asked.folder / "undisturbed"
    train_undisturbed(study, undisturbed)
    count, chance = KillCount(), random.Random(asked.seed)  # noqa: S311 - no secret
    while sum(count.kills.values()) < asked.kills and not count.wrong:
        count.rounds += 1
        runs = asked.folder / f"round-{count.rounds}"
        round_ = _Round(asked, study, runs, chance, count)
        round_.run()
        count.wrong += [*round_.problems(), *problems_of(study, runs, undisturbed)]
    return count


def problems_of(study: Path, runs: Path, undisturbed: Path) -> Iterator[str]:
    """Yield what differs between a runs folder and that of an undisturbed run of the same study."""
    cells = _cells(study)
    for cell in cells:
        found, wanted = cell_folder(runs, cell.id), cell_folder(undisturbed, cell.id)
        yield from (f"{cell.arm} seed {cell.seed}: {problem}" for problem in _cell_problems(found, wanted))
    planned = {cell.id for cell in cells}
    there = {path.name for path in (runs / "cells").glob("*")}
    if there != planned:
        yield f"there are {len(there)} folders of cells, not {len(planned)}"
    trials = Counter(_trials(study, runs))
    if trials != Counter(planned):
        yield f"the journal has {trials.total()} trials of {len(trials)} cells, not one for each of {len(planned)}"


def _cell_problems(found: CellFolder, wanted: CellFolder) -> Iterator[str]:
    if found.failed.exists():
        yield f"it failed: {found.failed.read_text(encoding='utf-8')[:500]}"
    if not found.done:
        yield "it has no outcome"
        return
    if (found.path / "replaced").exists():
        yield "it has two outcomes"
    for name in BYTES:
        if not filecmp.cmp(found.path / name, wanted.path / name, shallow=False):
            yield f"{name} has other bytes"


def _trials(study: Path, runs: Path) -> list[str]:
    """Return the cell of every trial in the journal of a study."""
    name = read_study(study, ()).name
    if not (runs / "studies" / name / "journal.log").exists():
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = JournalStorage(JournalFileBackend(str(runs / "studies" / name / "journal.log")))
    loaded = optuna.load_study(study_name=name, storage=storage)
    return [str(trial.user_attrs["cell"]) for trial in loaded.get_trials(deepcopy=False)]


class _Round:
    """One runs folder, whose processes are killed until the study is done."""

    def __init__(
        self, asked: KillTest, study: Path, runs: Path, chance: random.Random, count: KillCount
    ) -> None:
        self._asked, self._study, self._runs, self._chance, self._count = asked, study, runs, chance, count
        self._seen: dict[int, psutil.Process] = {}
        self._starts, self._was_killed = 0, False
        self._ended: list[str] = []

    def run(self) -> None:
        """Train the study, killing processes as long as kills are left."""
        ends = time.monotonic() + SECONDS_OF_A_ROUND
        coordinator, next_kill = self._start(), self._next_kill()
        while coordinator.poll() is None or coordinator.returncode != 0:
            if time.monotonic() > ends:
                self._ended.append(f"the round is not over after {SECONDS_OF_A_ROUND:.0f} seconds")
                coordinator.kill()
                return
            if coordinator.poll() is not None:
                if not self._was_killed:
                    self._ended.append(
                        f"coordinator {self._starts} ended with exit code {coordinator.returncode}"
                    )
                    return
                sys.stdout.write(f"the coordinator is started again ({self._starts})\n")
                coordinator, next_kill = self._start(), self._next_kill()
            self._look(coordinator)
            left = self._asked.kills - sum(self._count.kills.values())
            if left > 0 and time.monotonic() >= next_kill:
                self._kill_one(coordinator)
                next_kill = self._next_kill()
            time.sleep(0.1)

    def problems(self) -> Iterator[str]:
        """Yield how coordinators ended that were not killed, and every process that is left after a minute."""
        yield from self._ended
        _, alive = psutil.wait_procs(list(self._seen.values()), timeout=SECONDS_TO_END)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE:
                    yield f"process {process.pid} is left: {' '.join(process.cmdline())[:200]}"

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts, self._was_killed = self._starts + 1, False
        log = self._runs.with_name(f"{self._runs.name}-coordinator-{self._starts}.log")
        command = [sys.executable, "-m", "fusion_bench", "run", str(self._study), "--runs", str(self._runs)]
        command += ["--executor", self._asked.executor, "--workers", "2", *self._asked.options]
        with log.open("wb") as out:
            return subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                command,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _next_kill(self) -> float:
        return time.monotonic() + self._chance.expovariate(1 / self._asked.pause)

    def _look(self, coordinator: subprocess.Popen[bytes]) -> None:
        """Remember every process that the coordinator started, and those that they started."""
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(coordinator.pid).children(recursive=True):
                self._seen.setdefault(process.pid, process)

    def _kill_one(self, coordinator: subprocess.Popen[bytes]) -> None:
        """Kill a process of a kind that is chosen at random among those that there are."""
        kinds = targets_of(self._asked.executor, list(self._seen.values()))
        if self._chance.random() < COORDINATORS:
            allowed = self._count.kills["coordinator"] < self._asked.coordinators
            kinds = {"coordinator": [psutil.Process(coordinator.pid)] if allowed else []}
        kinds = {kind: found for kind, found in kinds.items() if found}
        if not kinds:
            return
        kind, how = self._chance.choice(sorted(kinds)), self._chance.choice(SIGNALS)
        process = self._chance.choice(kinds[kind])
        with suppress(psutil.NoSuchProcess):
            process.send_signal(how)
            self._was_killed |= kind == "coordinator" and how != signal.SIGSTOP
            self._count.kills[kind] += 1
            sys.stdout.write(f"{how.name} to the {kind} {process.pid}\n")
            sys.stdout.flush()
            if how == signal.SIGSTOP:
                time.sleep(self._chance.uniform(0.1, LONGEST_STOP))
                process.send_signal(signal.SIGCONT)


def targets_of(executor: str, processes: Sequence[psutil.Process]) -> Mapping[str, list[psutil.Process]]:
    """Return the living processes that may be killed, by kind, among those that the coordinator started."""
    kinds: dict[str, list[psutil.Process]] = {"worker": [], **({"actor": []} if executor == "ray" else {})}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            command = process.cmdline()
            if "fusion_bench.study.worker" in command:
                kinds["worker"].append(process)
            elif executor == "ray" and command and command[0].startswith("ray::NodeWorker"):
                kinds["actor"].append(process)
    return kinds


def write_study(asked: KillTest) -> Path:
    """Write the study file into the folder, and return its path."""
    asked.folder.mkdir(parents=True)
    text = STUDY.replace("SEEDS", str(asked.cells // 2)).replace("EPOCHS", str(asked.epochs))
    file = asked.folder / "killed.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def _cells(study: Path) -> tuple[PlannedCell, ...]:
    read = read_study(study, ())
    return confirm_cells(read.arms, read.seeds)


def train_undisturbed(study: Path, runs: Path) -> None:
    """Train the study in this process."""
    read, paths = read_study(study, ()), RunPaths(runs, {}, {})
    settings = WorkerSettings(paths, workers=1, threads=1)
    StudyRun(read, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()


def main() -> int:
    """Run the test that the command line describes; return 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a folder that does not exist")
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--coordinators", type=int, default=20, help="kills of coordinators at most")
    parser.add_argument("--cells", type=int, default=60)
    parser.add_argument("--pause", type=float, default=4.0, help="mean seconds between two kills")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began = time.monotonic()
    count = run_kill_test(KillTest(**{**vars(given), "folder": given.folder.resolve()}))
    killed = ", ".join(f"{number} {kind}s" for kind, number in count.kills.items())
    sys.stdout.write(f"{killed} killed in {count.rounds} rounds and {time.monotonic() - began:.0f} s\n")
    for problem in count.wrong:
        sys.stdout.write(f"wrong: {problem}\n")
    return 1 if count.wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
