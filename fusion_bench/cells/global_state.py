"""The state of the process and of torch that a cell could change, put back after each cell.

Functions that a module replaces in other modules cannot be put back. `fusion_bench.cells.executors.isolation` gives
modules from outside this project a process of their own for that reason.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

_PRECISIONS = (
    ("cuda", "matmul"),
    ("cudnn", "conv"),
    ("cudnn", "rnn"),
    ("mkldnn", "matmul"),
    ("mkldnn", "conv"),
    ("mkldnn", "rnn"),
)
_FLAGS = {
    "cudnn": ("enabled", "benchmark", "benchmark_limit", "deterministic"),
    "mkldnn": ("enabled", "deterministic"),
    "nnpack": ("enabled",),
    "opt_einsum": ("enabled", "strategy"),
    "quantized": ("engine",),
}
_MATMUL_FLAGS = (
    "allow_fp16_reduced_precision_reduction",
    "allow_bf16_reduced_precision_reduction",
    "allow_fp16_accumulation",
)


@dataclass(frozen=True)
class _Setting:
    """One value of the process: how it is read, and how it is set to a value that was read earlier."""

    read: Callable[[], Any]
    write: Callable[[Any], object]

    def restore(self, value: Any) -> None:
        if not _equal(self.read(), value):
            self.write(value)


@contextmanager
def global_state_kept() -> Iterator[None]:
    """Put the global state of torch, NumPy, Python and the process back after the block.

    That is: torch's default dtype and device, grad mode, autocast, anomaly mode, matmul precision, flags of backends,
    deterministic mode, denormal numbers and threads; all random generators; NumPy's handling of errors; the
    environment, working directory, import path, standard streams, signal handlers, warning filters, recursion limit
    and garbage collector.
    """
    with warnings.catch_warnings(), np.errstate():
        with _without_warnings():
            before = [(setting, setting.read()) for setting in _settings()]
        try:
            yield
        finally:
            with _without_warnings():
                for setting, value in before:
                    setting.restore(value)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide the warnings of torch that one of its settings is old, and those that a cell made errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _settings() -> Iterator[_Setting]:
    yield from _process_settings()
    yield from _torch_settings()
    yield from _backend_settings()
    yield from _generator_settings()


def _process_settings() -> Iterator[_Setting]:
    yield _Setting(lambda: dict(os.environ), _set_environment)
    yield _Setting(_working_directory, _change_directory)
    yield _Setting(lambda: list(sys.path), partial(sys.path.__setitem__, slice(None)))
    yield _Setting(sys.getrecursionlimit, sys.setrecursionlimit)
    yield _Setting(gc.isenabled, lambda on: gc.enable() if on else gc.disable())
    for name in ("stdout", "stderr", "argv"):
        yield _attribute(sys, name)
    if threading.current_thread() is threading.main_thread():  # no other thread may set a handler
        for number in (signal.SIGINT, signal.SIGTERM):
            yield _Setting(partial(signal.getsignal, number), partial(signal.signal, number))


def _torch_settings() -> Iterator[_Setting]:
    # First of all, because the default device is where other values would be made.
    yield _Setting(torch.get_default_device, _set_default_device)
    yield _Setting(torch.get_default_dtype, torch.set_default_dtype)
    yield _Setting(torch.is_grad_enabled, torch.set_grad_enabled)
    yield _Setting(
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda value: torch.autograd.set_detect_anomaly(*value),
    )
    for device in ("cpu", "cuda"):
        yield _Setting(
            partial(torch.is_autocast_enabled, device), partial(torch.set_autocast_enabled, device)
        )
        yield _Setting(partial(torch.get_autocast_dtype, device), partial(torch.set_autocast_dtype, device))
    yield _Setting(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled)
    yield _Setting(torch.get_num_threads, torch.set_num_threads)
    yield _Setting(_denormals_are_zero, torch.set_flush_denormal)
    yield _Setting(
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    )
    yield _attribute(torch.utils.deterministic, "fill_uninitialized_memory")


def _backend_settings() -> Iterator[_Setting]:
    backends = torch.backends
    # torch keeps the precision of products in two forms. The older one comes first, since it sets the newer one too.
    for read, write in (
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (lambda: backends.cuda.matmul.allow_tf32, partial(setattr, backends.cuda.matmul, "allow_tf32")),
        (lambda: backends.cudnn.allow_tf32, partial(setattr, backends.cudnn, "allow_tf32")),
    ):
        yield _Setting(partial(_consistent, read), partial(_write_consistent, write))
    yield _attribute(backends, "fp32_precision")
    for backend, operation in _PRECISIONS:
        yield _attribute(getattr(getattr(backends, backend), operation), "fp32_precision")
    for backend, names in _FLAGS.items():
        for name in names:
            if hasattr(getattr(backends, backend), name):
                yield _attribute(getattr(backends, backend), name)
    for name in _MATMUL_FLAGS:
        yield _attribute(backends.cuda.matmul, name)
    yield _Setting(backends.mha.get_fastpath_enabled, backends.mha.set_fastpath_enabled)
    yield _Setting(backends.cuda.flash_sdp_enabled, backends.cuda.enable_flash_sdp)
    yield _Setting(backends.cuda.mem_efficient_sdp_enabled, backends.cuda.enable_mem_efficient_sdp)
    yield _Setting(backends.cuda.math_sdp_enabled, backends.cuda.enable_math_sdp)
    yield _Setting(backends.cuda.cudnn_sdp_enabled, backends.cuda.enable_cudnn_sdp)


def _generator_settings() -> Iterator[_Setting]:
    yield _Setting(random.getstate, random.setstate)
    yield _Setting(partial(np.random.get_state, legacy=False), np.random.set_state)
    yield _Setting(torch.get_rng_state, torch.set_rng_state)
    if torch.cuda.is_initialized():
        yield _Setting(torch.cuda.current_device, torch.cuda.set_device)
        yield _Setting(torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all)


def _attribute(owner: object, name: str) -> _Setting:
    return _Setting(partial(getattr, owner, name), partial(setattr, owner, name))


def _set_environment(values: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(values)


def _working_directory() -> str:
    """Return the working directory; empty if it was removed."""
    with suppress(FileNotFoundError):
        return str(Path.cwd())
    return ""


def _change_directory(folder: str) -> None:
    if folder:
        os.chdir(folder)


def _set_default_device(device: torch.device) -> None:
    # Any device, the CPU too, would slow every later call of torch down; None is torch's own state at its start.
    torch.set_default_device(None if device.type == "cpu" else device)


def _denormals_are_zero() -> bool:
    """Return True if the processor takes numbers near zero for zero; torch can set this and does not tell it."""
    smallest = torch.tensor(1e-310, dtype=torch.float64, device="cpu")
    return float(smallest * 1.0) == 0.0


def _consistent(read: Callable[[], Any]) -> Any:
    """Return a precision; None where torch refuses to tell it, because its two forms contradict each other."""
    with suppress(RuntimeError):
        return read()
    return None


def _write_consistent(write: Callable[[Any], object], value: Any) -> None:
    if value is not None:
        write(value)


def _equal(now: Any, before: Any) -> bool:
    """Return True if two values of a setting are equal; arrays inside are compared by their content."""
    if isinstance(before, torch.Tensor):
        return torch.equal(now, before)
    if isinstance(before, np.ndarray):
        return np.array_equal(now, before)
    if isinstance(before, dict):
        return now.keys() == before.keys() and all(_equal(now[key], before[key]) for key in before)
    if isinstance(before, list | tuple):
        return len(now) == len(before) and all(map(_equal, now, before))
    return bool(now == before)
