"""The implementation of ``fusion-bench ui``: a small MLflow server on this machine, and links to its pages."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.error import HTTPError
from urllib.request import urlopen

from rich.console import Console

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.links import deep_links, server_of
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import destinations
from fusion_bench.study.run import study_folder
from fusion_bench.study.trials.journal_file import dashboard_command

_SECONDS_TO_START: Final = 120.0
_SECONDS_TO_STOP: Final = 10.0
_OTHER_PORT: Final = "pass another --port, or stop the server that uses it"
_MARK_HEADER: Final = "X-Fusion-Bench-Server"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def serve(runs: Path, host: str = "127.0.0.1", port: int = 5000, console: Console | None = None) -> None:
    """Serve MLflow until Ctrl-C and print links to the pages of each study.

    If MLFLOW_TRACKING_URI names a server, only the links to that server are printed.

    Args:
        runs: the runs folder.
        host: the address of the server; with any address but loopback, others can read and write without a password.
        port: the port of the server.
        console: the console to print on.

    Raises:
        FusionBenchError: there is nothing to show, the port is in use, or the server does not start.
    """
    console = console or Console()
    store = TrackingStore.of(runs)
    if store.database is not None and not store.database.exists():
        raise FusionBenchError(f"{store.database} does not exist: run a study first, or pass --runs")
    if (remote := server_of(store.uri)) is not None:
        _show_links(console, store, remote, runs)
        return
    _check_free(host, port)
    try:
        status = _serve(store, host, port, console, runs)
    except KeyboardInterrupt:  # the normal way to stop the server
        return
    raise FusionBenchError(
        f"the MLflow server stopped by itself with status {status}; its messages are above"
    )


def _serve(store: TrackingStore, host: str, port: int, console: Console, runs: Path) -> int:
    """Serve until interrupted; return the exit status of a server that ends before."""
    address = f"http://{'127.0.0.1' if host in {'0.0.0.0', '::'} else host}:{port}"  # noqa: S104 - compared only
    mark = secrets.token_hex(8)
    with _server(store, host, port, mark) as process:
        _wait_until_up(process, address, mark)
        _show_links(console, store, address, runs)
        if host not in _LOOPBACK:
            _say(
                console,
                f"The server has no password: everyone who can reach {host}:{port} can change its content.",
            )
        _say(console, "Ctrl-C stops the server.")
        return process.wait()


def _show_links(console: Console, store: TrackingStore, server: str, runs: Path) -> None:
    """Print the links of every study, the newest first, and open the first link in a browser if there is one."""
    studies = destinations(store)
    if not studies:
        _say(console, f"MLflow runs at {server}; it shows no study yet.")
        return
    for destination in studies:
        console.print(f"\n{destination.study}", style="bold", markup=False, highlight=False)
        for link in deep_links(destination, server):
            _say(console, f"  {link.title}:\n    {link.url}")
        if (command := dashboard_command(study_folder(runs, destination.study))) is not None:
            _say(console, f"  trials in Optuna's dashboard:\n    {command}")
    if console.is_terminal and (browser := _browser()) is not None:
        browser.open(deep_links(studies[0], server)[0].url)


def _browser() -> webbrowser.BaseBrowser | None:
    """Return a browser with windows; None without one, since a browser in this terminal would hide the links."""
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return None
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        return None
    return None if type(found) is webbrowser.GenericBrowser else found


def _say(console: Console, line: str) -> None:
    # Soft wrap, because a link that is broken over two lines cannot be clicked.
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise FusionBenchError(
                f"cannot listen on {host}:{port} ({error.strerror}): {_OTHER_PORT}"
            ) from error


@contextmanager
def _server(store: TrackingStore, host: str, port: int, mark: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the MLflow server and its workers as one process group; stop the group at the end of the block.

    Each of its answers has the header `_MARK_HEADER` with the value ``mark``.
    """
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
        f"--log-level warning --header {_MARK_HEADER}:{mark}",
    ]
    settings = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # saves seven processes
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore",  # those of the libraries of the server
    }
    # A new session: Ctrl-C reaches this process only, which then stops the group.
    process = subprocess.Popen(command, env={**os.environ, **settings}, start_new_session=True)  # noqa: S603 - no shell
    previous_handler = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        yield process
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
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


def _wait_until_up(process: subprocess.Popen[bytes], address: str, mark: str) -> None:
    """Wait for an answer of this very process.

    The port was free a moment ago, but another server may have taken it since; its answers have another mark.
    """
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end:
        if (status := process.poll()) is not None:
            raise FusionBenchError(f"the MLflow server ended with status {status}; its messages are above")
        try:
            with urlopen(f"{address}/health", timeout=5) as answer:  # noqa: S310 - http to the server just started
                mark_found = answer.headers.get(_MARK_HEADER)
        except HTTPError as error:
            mark_found = error.headers.get(_MARK_HEADER)
        except (OSError, HTTPException):
            time.sleep(0.2)
            continue
        if mark_found != mark:
            raise FusionBenchError(f"another server answers at {address}: {_OTHER_PORT}")
        return
    raise FusionBenchError(f"the MLflow server did not answer at {address} within {_SECONDS_TO_START:.0f} s")
