"""``fusion-bench ui`` serves on this machine, prints the links, and stops after Ctrl-C."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pandas as pd
import pytest
from rich.console import Console

from fusion_bench.cli.ui import _wait_until_up, serve
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import sync_study
from fusion_bench.results.results import ArmSummary, StudyResults

# MLflow's own queries, under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(autouse=True)
def no_other_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@contextmanager
def listening() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def tiny(name: str) -> StudyResults:
    """A study of one finished cell."""
    key = {"arm": "film", "role": "reference", "seed": 0, "cell": "f" * 16}
    done = {"state": "done", "reason": "", "epochs": 1, "best_epoch": 1, "seconds": 1.0}
    arm = ArmSummary("film", "reference", "film", {}, "", "sentence", "none", 1, 1, 1, 1)
    columns = ["arm", "seed", "epoch", "samples_seen", "quantity", "value"]
    empty = pd.DataFrame()
    return StudyResults(
        name=name,
        title="one cell",
        setup=(),
        primary="accuracy",
        primary_split="test",
        select_split="val",
        evaluate_splits=("test",),
        cluster="image",
        margin=None,
        reference="film",
        arms=(arm,),
        cells=pd.DataFrame([{**key, **done}]),
        values=pd.DataFrame([{**key, "split": "test", "metric": "accuracy", "value": 0.5}]),
        samples=empty,
        slices=(),
        curves=pd.DataFrame(columns=columns),
        pictures=empty,
        floors=empty,
        expected=empty,
        environment={},
    )


def test_without_a_run_there_is_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(
        FusionBenchError, match=r"mlflow\.db does not exist: run a study first, or pass --runs"
    ):
        serve(tmp_path)


def test_a_port_in_use_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    with (
        listening() as port,
        pytest.raises(FusionBenchError, match=f"cannot listen on 127.0.0.1:{port}") as caught,
    ):
        serve(tmp_path, port=port)
    assert "pass another --port" in str(caught.value)
    assert "\n" not in str(caught.value)


class Stranger(BaseHTTPRequestHandler):
    """A server that answers as `status` says, with headers of its own."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("X-Fusion-Bench-Server", "another")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return None


@pytest.mark.parametrize("status", [200, 404, 503])
def test_the_answer_of_another_server_is_not_taken_for_our_own(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stranger, "status", status)
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with subprocess.Popen(["sleep", "60"]) as ours:
            with pytest.raises(
                FusionBenchError, match=f"another server answers at {address}: pass another --port"
            ):
                _wait_until_up(ours, address, "ours")
            ours.kill()
        server.shutdown()


def started_ui(runs: Path, port: int) -> subprocess.Popen[str]:
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fusion_bench.cli.main import main\n"
        f"main(['ui', '--runs', {str(runs)!r}, '--port', '{port}'])"
    )
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-u", "-c", program], stdout=pipe, stderr=pipe, text=True)


@pytest.mark.slow
def test_of_two_started_at_once_one_serves_and_the_other_says_so(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        sync_study(tiny(folder.name), None, TrackingStore.of(folder))
    with listening() as port:
        pass
    both = [started_ui(folder, port) for folder in folders]
    while (ended := next((ui for ui in both if ui.poll() is not None), None)) is None:
        time.sleep(0.2)
    _, refusal = ended.communicate()
    assert ended.returncode == 2
    assert refusal.strip().splitlines()[-1].endswith("pass another --port, or stop the server that uses it")
    serving = both[1 - both.index(ended)]
    assert serving.stdout is not None
    shown = ""
    for line in serving.stdout:
        shown += line
        if "Ctrl-C" in line:
            break
    serving.send_signal(signal.SIGINT)
    serving.communicate()
    assert serving.returncode == 0
    names = re.findall(r"^\w+$", shown, re.MULTILINE)
    assert names == [folders[both.index(serving)].name]


@pytest.mark.slow
def test_it_serves_the_studies_prints_their_links_and_stops_with_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sync_study(tiny("first"), None, TrackingStore.of(tmp_path))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = (
        "import signal, sys; from pathlib import Path; from fusion_bench.cli.ui import serve\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"serve(Path({str(tmp_path)!r}), port={port})"
    )
    server = subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "COLUMNS": "40"},
    )
    with server:
        assert server.stdout is not None
        printed = ""
        for line in server.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        links = re.findall(r"http://\S+", printed)
        assert len(links) == 3, printed  # one arm is compared with none
        assert all(f"/#/experiments/{first.destination.experiment}/runs?" in link for link in links)
        with urlopen(links[0]) as page:  # noqa: S310
            assert b"<title>MLflow</title>" in page.read()

        # The same server as a tracking store: over HTTP the projection is the same, and no server is started.
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
        again = sync_study(
            dataclasses.replace(tiny("first"), title="another"), None, TrackingStore.of(tmp_path)
        )
        assert (again.created, again.kept) == (0, 2)
        assert sync_study(tiny("second"), None, TrackingStore.of(tmp_path)).created == 2
        assert capsys.readouterr().out == ""  # no address, which would hold the password
        shown = io.StringIO()
        serve(tmp_path, console=Console(file=shown, width=40))
        assert re.findall(r"^\w+$", shown.getvalue(), re.MULTILINE) == ["second", "first"]

        server.send_signal(signal.SIGINT)
        assert server.wait() == 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
