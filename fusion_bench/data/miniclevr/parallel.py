"""Execution of jobs in several processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


class Processes:
    """Runs jobs in the processes of a pool, or in the current process without one; see `processes`."""

    def __init__(self, pool: Executor | None) -> None:
        self._pool = pool

    def map(self, jobs: Sequence[Callable[[], T]], ended: Callable[[int], None] = lambda _: None) -> list[T]:
        """Run the jobs and return their results in order; ``ended`` is told the number of each job as it ends."""
        if self._pool is None or len(jobs) <= 1:
            results = []
            for number, job in enumerate(jobs):
                results.append(job())
                ended(number)
            return results
        futures = {self._pool.submit(job): number for number, job in enumerate(jobs)}
        for future in as_completed(futures):
            future.result()
            ended(futures[future])
        return [future.result() for future in futures]


@contextmanager
def processes(workers: int) -> Iterator[Processes]:
    """Give ``workers`` processes, which end with the block; 1 uses the current process.

    They live on between calls of `Processes.map`, because the start of a process takes seconds: it imports torch.
    """
    if workers <= 1:
        yield Processes(None)
        return
    # Processes are spawned, because forking a process with threads (torch's, MLflow's) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_initialise) as pool:
        yield Processes(pool)


def _initialise() -> None:
    """Use one torch thread, and end this process when its parent dies, so that it does not continue to write."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
