"""MLflow while a study runs: cells appear as they finish, and curves as they grow.

A thread of its own writes, so that a run never waits for a server that is slow, hangs or is gone. What could not be
written is written when the server answers again, or by the synchronisation at the end of this run or of the next one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from fusion_bench.reporting.mlflow_.content.run_names import factor_params, metric_name
from fusion_bench.reporting.mlflow_.content.runs import experiment_tags
from fusion_bench.reporting.mlflow_.content.search_runs import search_journals, shown_search
from fusion_bench.reporting.mlflow_.content.views import ShownColumns, saved_views, search_view
from fusion_bench.reporting.mlflow_.experiments import experiment_of
from fusion_bench.reporting.mlflow_.live_state import LiveState
from fusion_bench.reporting.mlflow_.origins import Origins, origin_here
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import save_views
from fusion_bench.reporting.mlflow_.writer import ExperimentWriter
from fusion_bench.reporting.tables.markdown_text import escape
from fusion_bench.spec.study import Study
from fusion_bench.study.observer import Observer, RunEvent, RunPlanned
from fusion_bench.study.run import study_folder
from fusion_bench.study.searching.search_results import selection_metric
from fusion_bench.training.inputs import declared_data

_BEAT_SECONDS: Final = 5.0
_MOST_SECONDS_BETWEEN: Final = 60.0
_PATIENCE_SECONDS: Final = 20.0
_PATIENCE_OF_A_STOP_SECONDS: Final = 5.0


class LiveMlflow:
    """Shows the run of one study in MLflow while it goes on; use it as a context manager and as an observer.

    Args:
        study: the study.
        runs: the runs folder.
        store: where it is shown.
        say: shows a sentence to the user.
        beat: seconds between two looks at what the run has told.
    """

    def __init__(
        self,
        study: Study,
        runs: Path,
        store: TrackingStore,
        say: Callable[[str], None],
        beat: float = _BEAT_SECONDS,
    ) -> None:
        os.environ.setdefault(
            "MLFLOW_DISABLE_TELEMETRY", "true"
        )  # here, because the thread must not change it later
        self._study, self._runs, self._store, self._say, self._beat = study, runs, store, say, beat
        self._folder = study_folder(runs, study.name)
        self._state = LiveState(study, runs)
        self._origin: dict[str, str] = {}
        self._writer: ExperimentWriter | None = None
        self._searched: tuple[tuple[int, int], ...] = ()
        self._over, self._left, self._moves = threading.Event(), threading.Event(), 0
        self._environment = ExitStack()
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def __enter__(self) -> LiveMlflow:
        self._environment.enter_context(self._store.briefly_patient())
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        """Wait for what is left to write, but no longer than the server makes progress; then nothing is written."""
        self._state.stop()
        self._over.set()
        patience = _PATIENCE_SECONDS if kind is None else _PATIENCE_OF_A_STOP_SECONDS
        with self._environment:
            while self._thread.is_alive():
                before = self._moves
                self._thread.join(patience)
                if kind is not None or self._moves == before:
                    break
        self._left.set()  # what follows may write the same runs

    def notify(self, event: RunEvent) -> None:
        """Take an event of the run; the thread starts with the first one of a cell."""
        self._state.notify(event)
        if not isinstance(event, RunPlanned) and hasattr(event, "cell") and self._thread.ident is None:
            self._thread.start()

    def _work(self) -> None:
        pause = 0.0
        while True:
            over = self._over.wait(pause)
            pause = self._beat if self._update() else min(2 * (pause or self._beat), _MOST_SECONDS_BETWEEN)
            if over or self._left.is_set():
                return

    def _update(self) -> bool:
        """Write what is new; return whether that went well."""
        try:
            self._origin = self._origin or origin_here(self._study.path)
            self._show(self._origin)
        except Exception as error:  # a server may answer anything, and nothing of it must end the run
            self._writer = None
            text = f"{error}; the study goes on, and MLflow is brought in line when it answers again"
            if text not in self._said and not self._left.is_set():
                self._said.add(text)
                self._say(text)
            return False
        self._said.clear()
        return True

    def _show(self, origin: dict[str, str]) -> None:
        origins, trained = Origins.of(self._folder), self._state.trained
        origins.add(trained(), origin)
        with self._store.open() as client:
            version = self._store.version() if self._writer is None else ""
            if self._writer is None:
                columns, tags = _columns(self._study), _tags(self._study)
                experiment = experiment_of(client, self._study.name, tags, self._store)
                save_views(client, experiment, saved_views(columns, version, experiment.creation_time))
                self._writer = ExperimentWriter(
                    client, self._store, experiment.experiment_id, self._study.name
                )
                self._searched = ()
            writer = self._writer
            for run in self._state.runs_to_show(writer.keeps):
                if self._left.is_set():
                    return
                cell = run.tags.get("cell", "")
                # A cell may have begun since the origins were written.
                writer.show(run, origins.tags(cell) or (origin if cell in trained() else {}))
                self._moves += 1
            journals = search_journals(self._folder)
            found = tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in journals)
            search = shown_search(self._study.name, journals) if found != self._searched else None
            if search is not None:
                other = experiment_of(client, search.study.name, search.study.tags, self._store)
                view = search_view(
                    search.metric, search.params, search.rises, self._store.version(), other.creation_time
                )
                save_views(client, other, view)
                trials = ExperimentWriter(client, self._store, other.experiment_id, self._study.name)
                for run in search.study.runs:
                    trials.show(run)
                    self._moves += 1
            self._searched = found


class Observers:
    """Passes every event on to several observers.

    Args:
        observers: who is notified, in this order.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def notify(self, event: RunEvent) -> None:
        """Pass an event on."""
        for observer in self._observers:
            observer.notify(event)


def _tags(study: Study) -> dict[str, str]:
    primary = metric_name(study.primary_split, study.primary)
    return experiment_tags(study.name, primary, escape(study.title))


def _columns(study: Study) -> ShownColumns:
    """Return what the views of a study show before it has results."""
    names = [list(factor_params(arm.factors)) for arm in study.arms]
    every = tuple(dict.fromkeys(name for own in names for name in own))
    select = declared_data(study.data).splits.select
    return ShownColumns(
        metric_name(study.primary_split, study.primary),
        metric_name(select, study.primary),
        selection_metric(study).higher_is_better,
        every,
        tuple(name for name in every if all(name in own for own in names)),
        (f"curve/{metric_name(f'select/{study.selection_metric}')}", "curve/train_loss"),
    )
