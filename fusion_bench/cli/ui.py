"""``fusion-bench ui``: MLflow's server, lean and on this machine only, and the pages worth opening."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.links import deep_links, server_of
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import destinations

_SECONDS_TO_START: Final = 120.0
_SECONDS_TO_STOP: Final = 10.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def serve(runs: Path, host: str = "127.0.0.1", port: int = 5000, console: Console | None = None) -> None:
    """Serve the studies shown in MLflow until Ctrl-C; print the links that open the right pages.

    With MLFLOW_TRACKING_URI set to a server, that server's links are printed and none is started.

    Args:
        runs: the folder of runs.
        host: the address to listen on; anything but loopback lets others read and write without a password.
        port: the port to listen on.
        console: where to print.

    Raises:
        FusionBenchError: there is nothing to show, the port is taken, or the server does not start.
    """
    console = console or Console()
    store = TrackingStore.of(runs)
    if store.database is not None and not store.database.exists():
        raise FusionBenchError(f"{store.database} does not exist: run a study first, or pass --runs")
    if (remote := server_of(store.uri)) is not None:
        _print_links(console, store, remote)
        return
    _check_free(host, port)
    try:
        status = _serve(store, host, port, console)
    except KeyboardInterrupt:  # the way to end it, at any moment
        return
    raise FusionBenchError(
        f"the MLflow server stopped by itself with status {status}; its messages are above"
    )


def _serve(store: TrackingStore, host: str, port: int, console: Console) -> int:
    """Serve until interrupted; the exit status of a server that ends before."""
    address = f"http://{'127.0.0.1' if host in {'0.0.0.0', '::'} else host}:{port}"  # noqa: S104 - compared only
    with _server(store, host, port) as process:
        _wait_until_up(process, address)
        _print_links(console, store, address)
        if host not in _LOOPBACK:
            _say(
                console, f"Anybody who reaches {host}:{port} can change what is shown: there is no password."
            )
        _say(console, "Ctrl-C stops the server.")
        return process.wait()


def _print_links(console: Console, store: TrackingStore, server: str) -> None:
    found = destinations(store)
    if not found:
        _say(console, f"MLflow is at {server}; no study is shown there yet.")
    for destination in found:
        console.print(f"\n{destination.study}", style="bold", markup=False, highlight=False)
        for link in deep_links(destination, server):
            _say(console, f"  {link.title}:\n    {link.url}")


def _say(console: Console, line: str) -> None:
    # Soft: a link that is broken over two lines cannot be clicked.
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise FusionBenchError(
                f"cannot listen on {host}:{port} ({error.strerror}): pass another --port, "
                "or stop the server that uses it"
            ) from error


@contextmanager
def _server(store: TrackingStore, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server and its workers as one process group, which is gone when the block is left."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri]
    if store.artifacts is not None:
        command += ["--artifacts-destination", store.artifacts.as_uri()]
    command += [
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
        "--uvicorn-opts",
        "--log-level warning",
    ]
    lean = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes less
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore",  # of the server's own libraries
    }
    # A session of its own: Ctrl-C reaches this process alone, which then ends the group in order.
    process = subprocess.Popen(command, env={**os.environ, **lean}, start_new_session=True)  # noqa: S603 - no shell
    earlier = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        yield process
    finally:
        signal.signal(signal.SIGTERM, earlier)
        _stop(process)


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _wait_until_up(process: subprocess.Popen[bytes], address: str) -> None:
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end:
        if (status := process.poll()) is not None:
            raise FusionBenchError(f"the MLflow server ended with status {status}; its messages are above")
        try:
            with urlopen(f"{address}/health", timeout=5):  # noqa: S310 - http to the server just started
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise FusionBenchError(f"the MLflow server did not answer at {address} within {_SECONDS_TO_START:.0f} s")
