"""The source of timm's weights: the local cache, the network, or neither, decided within a second."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import torch
from huggingface_hub import constants
from timm.models import get_pretrained_cfg

from fusion_bench.encoders.packages import PACKAGES
from fusion_bench.errors import WeightsError

CONNECTION_TIMEOUT = 0.6  # seconds to resolve a name and open a connection


def find_weights(name: str) -> Mapping[str, Any]:
    """Return the source of timm's weights of ``name`` as an overlay for timm's record; empty to download them.

    The local cache is checked first. If the weights are not there, the server must answer within
    `CONNECTION_TIMEOUT` seconds, because the download itself would retry for almost a minute before it fails.

    Raises:
        WeightsError: timm has no weights for this model, or they are not in the cache and the server cannot be
            reached.
    """
    config = get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise WeightsError(f"timm has no pretrained weights for {name!r}; {_advice(name)}")
    if config.hf_hub_id:
        file = None if config.custom_load else _cached(config.hf_hub_id, config.hf_hub_filename)
        if file:
            return {"file": file}
        server = constants.ENDPOINT
        reachable = not constants.HF_HUB_OFFLINE and is_reachable(server)
    else:
        server = config.url
        reachable = _downloaded(server).exists() or is_reachable(server)
    if not reachable:
        raise WeightsError(
            f"the ImageNet weights of {name!r} are not in the local cache and {urlsplit(server).hostname} "
            f"cannot be reached; {_advice(name)}"
        )
    return {}


def _advice(name: str) -> str:
    package = "package, " if name.partition(".")[0] in PACKAGES else ""
    return f"write weights: {package}file:PATH, pretext or random instead"


def cached_weights(name: str) -> Path | None:
    """Return the file of timm's weights of ``name`` on this machine, without the network; None if it is not here."""
    config = get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        return None
    if config.hf_hub_id:
        found = _cached(config.hf_hub_id, config.hf_hub_filename)
        return Path(found) if found else None
    downloaded = _downloaded(config.url)
    return downloaded if downloaded.exists() else None


def _downloaded(url: str) -> Path:
    """Return the path at which torch stores a file that it downloads."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name


def _cached(hub_id: str, filename: str | None) -> str | None:
    """Return the path of a weights file in the local cache; None if there is none."""
    repository, _, revision = hub_id.partition("@")
    for candidate in [filename] if filename else ["model.safetensors", "pytorch_model.bin"]:
        found = huggingface_hub.try_to_load_from_cache(repository, candidate, revision=revision or None)
        if isinstance(found, str):
            return found
    return None


def is_reachable(url: str) -> bool:
    """Return True if the server of ``url``, or the proxy in front of it, opens a connection in time."""
    host, port = _first_hop(url)
    opened = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=CONNECTION_TIMEOUT).close()
        except OSError:
            return
        opened.set()

    # Name resolution has no timeout, so it runs in a thread; a daemon thread does not delay the exit.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(CONNECTION_TIMEOUT)
    return opened.is_set()


def _first_hop(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
