"""The CPU time of what a user waits for without training: help, a plan, the statistics of a report.

Commands are measured as real programs. Their time is the CPU time of the process, user and system, and the least of
several runs: another program on the machine can only add to it.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from fusion_bench.bench.program import run_python
from fusion_bench.bench.targets import Line
from fusion_bench.statistics.comparison import Question, compare, means
from fusion_bench.statistics.controls import against_controls
from fusion_bench.statistics.ranking import ranks
from fusion_bench.statistics.scores import Scores
from fusion_bench.statistics.tie_groups import tie_groups

HELP_COMMANDS = (("--help",), ("plan", "--help"), ("run", "--help"))
_PROGRAM = "fusion-bench"
_CPU_TIME = "CPU time"
_HELP_SECONDS, _PLAN_SECONDS, _STATISTICS_SECONDS = 0.25, 5.0, 5.0
_SLICES = 20

_RECORD_IMPORTS = """
import json, sys
from pathlib import Path
from fusion_bench.cli.main import main
try:
    main(sys.argv[2:])
finally:
    Path(sys.argv[1]).write_text(json.dumps([name for name in sys.modules if name != "__main__"]))
"""
_IMPORT_THE_SAME = """
import importlib, json, sys
from contextlib import suppress
from pathlib import Path
for name in json.loads(Path(sys.argv[1]).read_text()):
    with suppress(Exception):  # a library may name a part of itself that cannot be imported by that name
        importlib.import_module(name)
"""


@dataclass(frozen=True)
class TableShape:
    """The size of a study whose statistics are timed.

    Attributes:
        arms: the number of arms, the reference and the controls included.
        controls: how many of them are controls.
        seeds: the number of seeds.
        samples: the number of samples of a cell.
        clusters: the number of clusters that hold these samples.
    """

    arms: int = 34
    controls: int = 5
    seeds: int = 5
    samples: int = 3000
    clusters: int = 300

    def __str__(self) -> str:
        """Return the size as a reader of the table needs it."""
        return f"{self.arms} arms, {self.seeds} seeds, {self.samples:,} samples in {self.clusters:,} clusters"


def measure_help(commands: Sequence[Sequence[str]] = HELP_COMMANDS, *, repeats: int = 5) -> list[Line]:
    """Return the CPU time of commands that only print their help.

    Raises:
        FusionBenchError: a command failed.
    """
    return [
        Line(
            f"{_PROGRAM} {' '.join(command)}",
            _CPU_TIME,
            _HELP_SECONDS,
            "lower",
            _least_cpu_seconds(["-m", "fusion_bench", *command], repeats),
            "s",
        )
        for command in commands
    ]


def measure_plan(study: Path, *, repeats: int = 3) -> list[Line]:
    """Return the CPU time of the plan of a study with its contexts, beyond that of its imports.

    The imports are those of a process that imports what the plan imported, in the same order.

    Raises:
        FusionBenchError: the study has mistakes.
    """
    with TemporaryDirectory() as folder:
        imported = str(Path(folder) / "imported.json")
        plan = ["plan", str(study), "--runs", str(Path(folder) / "runs")]
        _least_cpu_seconds(["-c", _RECORD_IMPORTS, imported, *plan], 1)
        whole = _least_cpu_seconds(["-m", "fusion_bench", *plan], repeats)
        imports = _least_cpu_seconds(["-c", _IMPORT_THE_SAME, imported], repeats)
    beyond = max(0.0, whole - imports)
    item = f"{_PROGRAM} plan {study}"
    return [Line(item, f"{_CPU_TIME} beyond imports", _PLAN_SECONDS, "lower", beyond, "s")]


def measure_statistics(shape: TableShape = TableShape(), *, repeats: int = 3) -> list[Line]:
    """Return the CPU time of what a report computes from a drawn table of scores.

    That is the means, the comparisons with their verdicts, the leads over the controls, the tie groups and the ranks,
    and the means on twenty slices.
    """
    labels = [f"arm {number}" for number in range(shape.arms)]
    ranked, controls = labels[: shape.arms - shape.controls], labels[shape.arms - shape.controls :]
    question = Question(ranked[0], tuple(ranked[1:]), controls=tuple(controls), margin=0.01)
    table = _drawn_scores(shape, labels)

    def statistics() -> None:
        scores = Scores.of(table, labels)
        influences = scores.influences()
        means(influences)
        compare(influences, question)
        against_controls(influences, question)
        tie_groups(influences, question, ranked)
        ranks(influences, ranked)
        for number in range(_SLICES):
            means(scores.where(np.arange(shape.samples) % _SLICES == number).influences())

    measured = min(_own_cpu_seconds(statistics) for _ in range(repeats))
    return [Line(f"statistics of {shape}", _CPU_TIME, _STATISTICS_SECONDS, "lower", measured, "s")]


def _least_cpu_seconds(arguments: Sequence[str], repeats: int) -> float:
    """Return the least CPU time of a Python process, user and system, over some runs.

    Raises:
        FusionBenchError: the process failed.
    """
    return min(child_cpu_seconds(arguments) for _ in range(repeats))


def child_cpu_seconds(arguments: Sequence[str]) -> float:
    """Return the CPU time of a Python process and of the processes that it waited for, user and system.

    Raises:
        FusionBenchError: the process failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_python(arguments, "a command to be timed failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _own_cpu_seconds(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _drawn_scores(shape: TableShape, labels: Sequence[str]) -> pd.DataFrame:
    """Return right and wrong answers: some arms, seeds and clusters are easier than others."""
    random = np.random.default_rng(0)
    cluster = np.arange(shape.samples) * shape.clusters // shape.samples
    by_arm = 0.02 * random.standard_normal((shape.arms, 1, 1))
    by_seed = 0.01 * random.standard_normal((shape.arms, shape.seeds, 1))
    by_cluster = 0.2 * random.standard_normal(shape.clusters)[cluster]
    cells = (shape.arms, shape.seeds, shape.samples)
    right = random.random(cells) < 0.5 + by_arm + by_seed + by_cluster
    arm, seed, sample = (index.reshape(-1) for index in np.indices(cells))
    return pd.DataFrame(
        {
            "arm": np.array(labels, dtype=object)[arm],
            "seed": seed,
            "sample": sample,
            "cluster": cluster[sample],
            "score": right.reshape(-1).astype(np.float64),
        }
    )
