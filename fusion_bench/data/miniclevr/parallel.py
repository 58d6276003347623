"""Execution of jobs in several processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import torch

T = TypeVar("T")


def map_in_processes(
    jobs: Sequence[Callable[[], T]], workers: int, ended: Callable[[int], None] = lambda _: None
) -> list[T]:
    """Run the jobs in ``workers`` processes and return their results in order; 1 uses the current process.

    ``ended`` is told the number of each job that has ended, as it ends.
    """
    if workers <= 1 or len(jobs) <= 1:
        results = []
        for number, job in enumerate(jobs):
            results.append(job())
            ended(number)
        return results
    # Processes are spawned, because forking a process with threads (torch's, MLflow's) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_initialise) as pool:
        futures = {pool.submit(job): number for number, job in enumerate(jobs)}
        for future in as_completed(futures):
            future.result()
            ended(futures[future])
        return [future.result() for future in futures]


def _initialise() -> None:
    """Use one torch thread, and end this process when its parent dies, so that it does not continue to write."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
