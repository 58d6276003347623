"""The progress of a run on the screen: a live table on a terminal, one plain line per event anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from fusion_bench.reporting.live_table import LiveTable
from fusion_bench.reporting.plain_lines import PlainLines
from fusion_bench.samples.counting import Notify, Paced
from fusion_bench.study.observer import Observer, RunClosed, RunPreparing


@contextmanager
def parts_shown(console: Console) -> Iterator[Notify]:
    """Yield what takes the name of the part of a long work that is done now, and shows it while the block lasts.

    A total of 0 stands for a part that is not counted.
    """
    observer = observer_for(console)
    paced = Paced(lambda *count: observer.notify(RunPreparing(*count)))
    try:
        yield paced
    finally:
        observer.notify(RunClosed())


def observer_for(console: Console) -> Observer:
    """The live table if ``console`` is a terminal that can redraw, plain lines otherwise."""
    redraws = console.is_terminal and not console.is_dumb_terminal
    return LiveTable(console) if redraws else PlainLines(console)
