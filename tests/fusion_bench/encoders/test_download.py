"""Reachability of a server is known within a second, whatever the network does."""

from __future__ import annotations

import socket
import threading

import pytest

from fusion_bench.encoders import download


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.getproxies", dict)


@pytest.mark.usefixtures("no_proxies")
def test_an_open_port_is_reachable_and_a_closed_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert download.is_reachable(url)
    assert not download.is_reachable(url)


@pytest.mark.usefixtures("no_proxies")
def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: object, **__: object) -> None:
        over.wait(timeout=60)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    assert not download.is_reachable("https://weights.invalid"), (
        "the result is known while the look-up still hangs"
    )
    over.set()


def test_a_proxy_is_contacted_where_one_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy.invalid:3128"})
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: host == "inside.invalid")
    assert download._first_hop("https://weights.invalid/x") == ("proxy.invalid", 3128)
    assert download._first_hop("https://inside.invalid/x") == ("inside.invalid", 443)
