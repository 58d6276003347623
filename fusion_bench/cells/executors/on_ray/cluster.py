"""The connection to a Ray cluster, and the places that its nodes have for workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_bench.errors import FusionBenchError

_STORE_BYTES = 128 << 20
_BEFORE_IMPORT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A worker that dies is told once, by the run.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "worker died or was killed",
}
_TOKEN = {"RAY_AUTH_MODE": "token"}
# Without it Ray advertises the address of the host, and its processes listen to the network.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True)
class RayRequest:
    """The options of a run on Ray.

    Attributes:
        address: of the cluster (``auto``, ``HOST:6379``, ``ray://HOST:10001``); None: the environment's RAY_ADDRESS,
            else a cluster of this host alone, which ends with the run.
        cpus: CPUs of each worker; None: what the study says, else its threads.
        gpus: GPUs of each worker, such as 0.25; None: what the study says, else 1 on a GPU.
        node_runs: the runs folder of nodes that do not share the coordinator's; empty: in the user's cache.
    """

    address: str | None = None
    cpus: float | None = None
    gpus: float | None = None
    node_runs: str = ""


@dataclass(frozen=True)
class Need:
    """The CPUs and GPUs that one worker needs of a node, or that a node has."""

    cpus: float
    gpus: float

    @property
    def device(self) -> str:
        """The device that the worker trains on; Ray shows it no GPU but its own."""
        return "cuda" if self.gpus else "cpu"

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU{'' if self.gpus == 1 else 's'}" if self.gpus else ""
        return f"{self.cpus:g} CPU{'' if self.cpus == 1 else 's'}{gpus}"

    def places_on(self, node: Need) -> int:
        """Return how many workers a node has place for."""
        places = [
            int(has / wants + 1e-6)
            for has, wants in ((node.cpus, self.cpus), (node.gpus, self.gpus))
            if wants > 0
        ]
        return min(places, default=0)


def ray_library() -> Any:
    """Return the package ray.

    Raises:
        FusionBenchError: it is not installed.
    """
    try:
        import ray  # noqa: PLC0415 - an extra, and slow
    except ImportError as error:
        raise FusionBenchError(
            "the executor ray needs the package ray; install it with: pip install 'laconv-fusion-bench[ray]'"
        ) from error
    return ray


@contextmanager
def connected(asked: str | None) -> Iterator[None]:
    """Connect this process to a Ray cluster while the block runs; a cluster that is started for it ends with it.

    A process that is connected already, such as a notebook, keeps its connection.

    Raises:
        FusionBenchError: Ray is not installed, or the cluster cannot be reached.
    """
    address = asked or os.environ.get("RAY_ADDRESS") or "local"
    added = _BEFORE_IMPORT | (_LOOPBACK | _TOKEN if address == "local" else {})
    if address != "local" and _has_token():
        added |= (
            _TOKEN  # `ray start` asks for the token that its user has; a driver must say that it brings it
        )
    imported = "ray" in sys.modules  # it reads these variables at its import alone
    with _environment(added):
        ray = ray_library()
        if ray.is_initialized():
            yield
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "address": address}
        if address == "local":
            options |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
            options |= {"_node_ip_address": "127.0.0.1"}
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
            advice = (
                "Ray was imported before this run: start the run in a fresh process, or call ray.init() before it"
                if imported
                else "a cluster with token authentication needs the same token on every host, in ~/.ray/auth_token"
            )
            raise FusionBenchError(
                f"the Ray cluster {address} cannot be reached: {str(error).strip().splitlines()[0]} ({advice})"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _has_token() -> bool:
    """Return True if this user has a token for Ray's clusters."""
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or (Path.home() / ".ray" / "auth_token").exists()


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    """Set those variables that are not set, for Ray and the processes that it starts."""
    new = {name: value for name, value in added.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def nodes() -> tuple[Need, ...]:
    """Return the CPUs and GPUs of every node that is alive."""
    return tuple(
        Need(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in ray_library().nodes()
        if node["Alive"]
    )


def places_for(need: Need, workers: int | None, found: tuple[Need, ...]) -> int:
    """Return how many workers are started: ``workers``, else as many as have a place.

    Args:
        need: what each of them needs.
        workers: how many are asked for.
        found: the nodes.

    Raises:
        FusionBenchError: no node can take a worker, or all nodes together not so many: Ray would wait for ever.
    """
    places = sum(need.places_on(node) for node in found)
    largest = max(found, key=lambda node: (need.places_on(node), node.gpus, node.cpus), default=Need(0, 0))
    if places == 0:
        raise FusionBenchError(
            f"no node of the Ray cluster has {need} for a worker: the largest of {len(found)} has {largest}; ask for "
            "less with --ray-cpus and --ray-gpus, or add nodes before the run"
        )
    if workers is not None and workers > places:
        raise FusionBenchError(
            f"the Ray cluster has place for {places} worker{'' if places == 1 else 's'} of {need}, not for "
            f"{workers}; write --workers {places}, or ask for less with --ray-cpus and --ray-gpus"
        )
    return workers or places
