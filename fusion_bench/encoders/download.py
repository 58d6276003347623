"""Whether timm's weights can be had: from the local cache, over the network, or not at all, said at once."""

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

from fusion_bench.errors import WeightsError

PATIENCE = 0.6  # seconds for a name to resolve and a connection to open
_ALTERNATIVES = "write weights: file:PATH, pretext or random instead"


def weights_at_hand(name: str) -> Mapping[str, Any]:
    """Where to load timm's weights of ``name`` from, as an overlay for its record; empty for "download".

    The local cache is looked at first; without it the server must answer within `PATIENCE`, since the
    download itself would retry for most of a minute before it gives up.

    Raises:
        WeightsError: timm has no weights for this model, or they are not here and the network is not
            there either.
    """
    config = get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise WeightsError(f"timm has no pretrained weights for {name!r}; {_ALTERNATIVES}")
    if config.hf_hub_id:
        file = None if config.custom_load else _cached(config.hf_hub_id, config.hf_hub_filename)
        if file:
            return {"file": file}
        server = constants.ENDPOINT
        reachable = not constants.HF_HUB_OFFLINE and is_reachable(server)
    else:
        server = config.url
        downloaded = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(server).path).name
        reachable = downloaded.exists() or is_reachable(server)
    if not reachable:
        raise WeightsError(
            f"the ImageNet weights of {name!r} are not in the local cache and {urlsplit(server).hostname} "
            f"cannot be reached; {_ALTERNATIVES}"
        )
    return {}


def _cached(hub_id: str, filename: str | None) -> str | None:
    """The path of a weights file that an earlier download left, if there is one."""
    repository, _, revision = hub_id.partition("@")
    for candidate in [filename] if filename else ["model.safetensors", "pytorch_model.bin"]:
        found = huggingface_hub.try_to_load_from_cache(repository, candidate, revision=revision or None)
        if isinstance(found, str):
            return found
    return None


def is_reachable(url: str) -> bool:
    """Whether the server of ``url`` (or the proxy that leads to it) opens a connection in time."""
    host, port = _first_hop(url)
    opened = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=PATIENCE).close()
        except OSError:
            return
        opened.set()

    # Resolving a name has no timeout of its own, so it runs beside; a daemon never delays the exit.
    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(PATIENCE)
    return opened.is_set()


def _first_hop(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
