"""The pilots of a run: submitted once, found again by the next coordinator, replaced when they end too early."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType

from fusion_bench.cells.executors.slurm.cluster import Cluster
from fusion_bench.cells.executors.slurm.pilot import OUT_OF_TIME, SlurmPilot
from fusion_bench.cells.executors.slurm.work_list import (
    EventReader,
    Message,
    PilotEnded,
    WorkFolder,
    WorkList,
)
from fusion_bench.errors import FusionBenchError, bounded_line
from fusion_bench.lease import Lease, LeaseHeld

_FRUITLESS = 3
_RUNNING = "RUNNING"


class PilotPool:
    """Sees to it that enough pilots work on what is listed. Use it as a context manager around a whole command.

    Nothing is written or submitted before the first list. After Ctrl-C the pilots go on; after any other end they
    are told that the run is over.

    Args:
        cluster: where pilots run.
        pilot: is submitted, as often as pilots are wanted.
        pilots: the largest number of pilots.
        tell: gets sentences for the user.
    """

    def __init__(
        self, cluster: Cluster, pilot: SlurmPilot, pilots: int, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._cluster, self._pilot, self._pilots, self._tell = cluster, pilot, pilots, tell
        self._folder, self.times = pilot.folder, pilot.times
        self._lease = Lease(pilot.folder.path)
        self._session, self._number = secrets.token_hex(4), 0
        self._events: EventReader | None = None
        self._states: Mapping[str, str] | None = {}
        self._asked = self._submitted = float("-inf")
        self._fruitless, self._reason = 0, ""

    def __enter__(self) -> PilotPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._events is None:
            return
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._say_how_to_cancel()
        else:
            self._number += 1
            self._folder.write(WorkList(self._session, self._number, "over"))
            self._cluster.cancel_waiting()
        self._lease.__exit__(kind, error, trace)

    def list_cells(self, kind: str, cells: Sequence[str], seeds: Sequence[int]) -> WorkList:
        """Tell the pilots what is to be done now, and return it.

        Raises:
            FusionBenchError: another coordinator uses these pilots.
        """
        if self._events is None:
            self._open()
        self._number += 1
        self._submitted = float("-inf")  # more pilots may be wanted than for the last list
        work = WorkList(self._session, self._number, kind, tuple(cells), tuple(seeds))  # type: ignore[arg-type]
        self._folder.write(work)
        return work

    def _open(self) -> None:
        try:
            self._lease.__enter__()
        except LeaseHeld as error:
            raise FusionBenchError(
                f"another run uses the pilots of {self._folder.path}; wait for it, or choose another folder with "
                "--runs"
            ) from error
        self._events = EventReader(self._folder)
        # Pilots of other options end as soon as they see it.
        for other in self._folder.path.parent.iterdir():
            if other != self._folder.path and (other / "list.json").exists():
                WorkFolder(other).write(WorkList(self._session, 0, "over"))

    def messages(self) -> list[tuple[str, Message]]:
        """Return what pilots have told since the last call, each with the name of its list."""
        found = [] if self._events is None else list(self._events.new())
        for _, message in found:
            if isinstance(message, PilotEnded):
                self._reason = message.reason
                if message.fault:
                    self._tell(message.reason)
        return found

    def progressed(self) -> None:
        """Take note that a pilot has got on with something."""
        self._fruitless = 0

    def keep(self, wanted: int) -> None:
        """Submit pilots if there are fewer than wanted; called often, it asks the scheduler now and then.

        Raises:
            FusionBenchError: no pilot is left, and the last ones that were submitted finished nothing.
        """
        now = time.monotonic()
        if now - self._asked < self.times.ask:
            return
        self._states = states = self._cluster.states()
        self._asked = now
        if states is None:
            return
        lacking = min(wanted, self._pilots) - len(states)
        if lacking <= 0 or (states and now - self._submitted < self.times.again):
            return
        if self._fruitless >= _FRUITLESS:
            if states:
                return
            raise FusionBenchError(self._gave_up())
        self._fruitless += 1
        self._submitted = now
        try:
            self._cluster.submit(self._pilot, lacking)
        except FusionBenchError as error:
            if not states:
                raise
            self._tell(str(error))  # the other pilots go on
        self._asked = float("-inf")

    @property
    def waiting(self) -> str:
        """Why nothing happens yet, if no pilot runs; else empty."""
        if self._states is None:
            return "waiting for the scheduler, which gives no answer"
        if not self._states or _RUNNING in self._states.values():
            return ""
        reasons = ", ".join(sorted(set(self._states.values())))
        return f"waiting for {len(self._states)} pilots in the queue: {reasons}"

    def _gave_up(self) -> str:
        reason = self._reason or self._last_line()
        why = f"; the last reason: {reason}" if reason else ""
        more = "; give pilots more time with --slurm time=MINUTES" if OUT_OF_TIME in reason else ""
        return (
            f"no pilot is left, and pilots were submitted {_FRUITLESS} times without finishing a cell{why}{more} "
            f"(what they printed: {self._folder.logs}); finished cells are kept, run the command again to continue"
        )

    def _last_line(self) -> str:
        """Return the last line that a pilot printed before its end; empty if none printed any."""
        with suppress(OSError):
            logs = sorted(self._folder.logs.glob("*_log.err"), key=lambda log: log.stat().st_mtime)
            lines = logs[-1].read_text(encoding="utf-8", errors="replace").split("\n") if logs else []
            return bounded_line(next((line for line in reversed(lines) if line.strip()), ""))
        return ""

    def _say_how_to_cancel(self) -> None:
        states = self._cluster.states()
        known = (self._states if states is None else states) or {}
        jobs = sorted({job.partition("_")[0] for job in known})
        if jobs:
            self._tell(
                f"the pilots train on (jobs {', '.join(jobs)}): run the command again to follow them, or cancel them "
                f"with: scancel {' '.join(jobs)}"
            )
