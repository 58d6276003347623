"""Work spread over processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def map_in_processes(jobs: Sequence[Callable[[], T]], workers: int) -> list[T]:
    """Results of the jobs in their order, worked out by so many processes; one works in this one."""
    if workers <= 1 or len(jobs) <= 1:
        return [job() for job in jobs]
    # Spawned, since forking a process that runs threads (torch's, MLflow's) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_start) as pool:
        futures = [pool.submit(job) for job in jobs]
        return [future.result() for future in futures]


def _start() -> None:
    """One torch thread a process; and a process whose parent is killed must not go on writing."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
