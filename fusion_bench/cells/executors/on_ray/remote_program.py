"""A worker program on a node of a Ray cluster, as the pool of workers of the coordinator sees it."""

from __future__ import annotations

import json
import queue
import threading
from contextlib import suppress
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from fusion_bench.cells.events import CellTold, event_line
from fusion_bench.cells.executors.on_ray.carrier import Carrier
from fusion_bench.cells.executors.on_ray.node_worker import HeardLines, LastWords, Place
from fusion_bench.cells.executors.program import Hear
from fusion_bench.errors import FusionBenchError, bounded_line, reason_of

_SECONDS_TO_PLACE = 30.0
_SECONDS_TO_ANSWER = 5.0


class RemoteProgram:
    """A worker program whose actor Ray places on some node; see `fusion_bench.cells.executors.program.Program`.

    Two threads serve it, because an actor may have to wait for its place: one sends requests, one hears lines.

    Args:
        actor: the handle of its `NodeWorker`.
        wanted: what the actor asks of a node, in words.
        carrier: carries cells to and from a node that does not share the runs folder.
        hear: gets every line that the program writes.
    """

    def __init__(self, actor: ActorHandle, wanted: str, carrier: Carrier, hear: Hear) -> None:
        self._actor, self._wanted, self._carrier, self._hear = actor, wanted, carrier, hear
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._first: bytes | None = None
        self._place: Place | None = None
        self._last_words: LastWords | None = None
        self._alive, self._memory, self._lost = True, 0, ""
        self._ended = threading.Event()
        for serve in (self._send, self._listen):
            threading.Thread(target=serve, name="ray worker", daemon=True).start()

    @property
    def alive(self) -> bool:
        """See `Program`."""
        return self._alive and not self._ended.is_set()

    @property
    def waiting(self) -> bool:
        """See `Program`."""
        return self._place is None and self.alive

    def write(self, request: bytes) -> None:
        """See `Program`."""
        self._first = self._first or request
        self._requests.put(request)

    def memory(self) -> int:
        """See `Program`; as it was when the actor was last heard, at most a second ago."""
        return self._memory

    def terminate(self) -> None:
        """See `Program`."""
        if not self.waiting:
            self._actor.terminate.remote()

    def kill(self) -> None:
        """See `Program`."""
        if not self.waiting:
            self._actor.kill.remote()

    def wait(self, seconds: float) -> None:
        """See `Program`."""
        self._asked(self._actor.wait.remote, seconds, patience=seconds)

    def close(self, grace: float) -> None:
        """See `Program`; the actor ends too and gives its place back."""
        self._requests.put(None)
        if self._place is not None and self._last_words is None:
            self._last_words = self._asked(self._actor.close.remote, grace, patience=grace)
        ray.kill(self._actor)
        self._ended.wait(_SECONDS_TO_ANSWER)
        self._carrier.let_go()

    def ending(self) -> str:
        """See `Program`."""
        if self._last_words is not None:
            return self._last_words.ending
        return f"with its Ray actor{f': {self._lost}' if self._lost else ''}"

    def last_line(self, before: str) -> str:
        """See `Program`."""
        if self._last_words is None or not self._last_words.line or self._place is None:
            return ""
        line, log = self._last_words.line, str(self._place.log)
        if not self._place.shared:
            line = line.replace(log, f"{self._place.host}:{log}")
        return bounded_line(line, None, before)

    def _asked(self, method: Any, *arguments: Any, patience: float) -> Any:
        """Return what a method of the actor returns; None if the actor is lost, or gives no answer for too long."""
        with suppress(RayError, GetTimeoutError):
            return ray.get(method(*arguments), timeout=patience + _SECONDS_TO_ANSWER)
        return None

    def _send(self) -> None:
        """Wait for the place of the actor, then send requests until there are no more."""
        with suppress(RayError):  # the other thread hears of it too, and says so
            place = self._actor.place.remote()
            while not ray.wait([place], timeout=_SECONDS_TO_PLACE)[0]:
                self._say_waiting()
            self._place = ray.get(place)
            while (request := self._requests.get()) is not None:
                self._send_one(request)

    def _say_waiting(self) -> None:
        if self._first is not None:
            (cell,) = json.loads(self._first).values()
            text = f"waits for a place: no node of the Ray cluster has {self._wanted} free"
            self._hear(event_line(CellTold(cell, text)).encode() + b"\n")

    def _send_one(self, request: bytes) -> None:
        assert self._place is not None  # noqa: S101 - requests are sent once it is known
        if self._place.shared:
            self._actor.write.remote(request)
            return
        try:
            lines = self._carrier.send(request, self._actor, self._place.host)
        except (FusionBenchError, OSError, RayTaskError) as error:
            lines = self._carrier.failed(request, reason_of(error))
        for line in lines:
            self._hear(line)

    def _listen(self) -> None:
        """Pass on what the program writes until its output ends or the actor is lost."""
        try:
            over = False
            while not over:
                heard: HeardLines = ray.get(self._actor.hear.remote())
                self._memory, over = heard.memory, heard.over
                for line in heard.lines:
                    self._pass_on(line)
                self._alive = heard.alive
        except RayError as error:
            said = str(error).strip().splitlines()
            self._lost = bounded_line(said[-1 if "creation" in said[0] else 0])
        finally:
            self._ended.set()
            self._carrier.let_go()
            self._hear(None)

    def _pass_on(self, line: bytes) -> None:
        if self._place is None or self._place.shared:
            self._hear(line)
            return
        for passed in self._carrier.receive(line, self._actor):
            self._hear(passed)
