"""Digests of what a cell would read if it were trained now; nothing is decoded or generated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fusion_bench.cells.provenance import changed_sources, current_sources
from fusion_bench.cells.result import Provenance, SourceDigests
from fusion_bench.cells.warm_start import source_folder, starting_digest
from fusion_bench.errors import FusionBenchError
from fusion_bench.serialisation import to_json
from fusion_bench.storage import digest
from fusion_bench.training.config import CellConfig
from fusion_bench.training.inputs import (
    data_contents,
    find_existing_data,
    first_of_chain,
    weights_file_digest,
)
from fusion_bench.training.paths import RunPaths

_NAMED = 3
"""Number of changed files that are named; of the others only the number is given."""


@dataclass(frozen=True)
class DataDigests:
    """The digests of a data set's files (`DataSet.contents`), or the reason why it cannot be opened.

    Attributes:
        files: digests by name; empty where the data set cannot be opened.
        problem: why it cannot be opened, one sentence; empty if it can.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class InputDigests:
    """The digests of everything that a cell would read; an empty one is not known.

    Attributes:
        sources: of the source code.
        data: of the data set's files.
        weights_file: of the file of the backbone's initial weights.
        start: of the weights that the cell would start from.
    """

    sources: SourceDigests
    data: DataDigests
    weights_file: str
    start: str


def changed_inputs(recorded: Provenance, today: InputDigests) -> tuple[str, ...]:
    """Return what differs between what a cell read and what it would read now, each as a phrase that names it.

    What is not known on one side is not compared: data or weights that are not here, and files of a cell that was
    recorded before they were listed.
    """
    sources = {"module": "the module's source", "numerics": "the harness's numerics"}
    changed = [sources[name] for name in changed_sources(recorded, today.sources)]
    if today.data.files and recorded.files and (names := _differing(recorded.files, today.data.files)):
        changed.append(f"the data ({names})")
    if today.weights_file and recorded.weights_file and today.weights_file != recorded.weights_file:
        changed.append("the weights of the backbone")
    if today.start and today.start != recorded.start:
        changed.append("the weights that it starts from")
    return tuple(changed)


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return the names of the files that differ, as text; empty if none does."""
    names = [
        (name or "its manifest")
        if name in then and name in now
        else f"{name} is {'new' if name in now else 'gone'}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])


class CurrentInputs:
    """Finds what cells would read now; each data set and each backbone is looked at once.

    Make one for each command or report: files that change later are not seen. Digests of files come from the cache
    of the runs folder unless their size or time of change differs.

    Args:
        paths: where runs, data and weights lie.
    """

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self._data: dict[str, DataDigests] = {}
        self._weights: dict[str, str] = {}
        self._manifests: dict[str, str] = {}
        self._keys: dict[int, tuple[object, str]] = {}

    def of(self, config: CellConfig) -> InputDigests:
        """Return the digests of what a cell would read."""
        start = starting_digest(config, self.paths.runs)
        return InputDigests(current_sources(config), self.data_of(config), self._weights_of(config), start)

    def check_source(self, config: CellConfig) -> None:
        """Check that the cell whose weights a cell would start from is trained, with its weights, and not stale.

        Raises:
            FusionBenchError: it is not; the message says how to train it.
        """
        folder = source_folder(config, self.paths.runs)
        if folder is None or config.source is None:
            return
        if changed := changed_inputs(folder.provenance(), self.of(config.source)):
            raise FusionBenchError(
                f"a cell starts from the weights of the cell {folder.path} (seed {config.seed}), which is stale: "
                f"{', '.join(changed)} changed since it was trained; run the study named under start with "
                "--keep-weights --retry-stale"
            )

    def data_of(self, config: CellConfig) -> DataDigests:
        """Return the digests of the files of a cell's data, and of the data that its vocabulary comes from."""
        key = self._key(config.data) + self._key(first_of_chain(config).data)
        if key not in self._data:
            self._data[key] = self._read_data(config)
        return self._data[key]

    def manifest_of(self, config: CellConfig) -> str:
        """Return the digest of the manifest of a cell's data set as it lies here; empty if it is not here."""
        key = self._key(config.data)
        if key not in self._manifests:
            try:
                self._manifests[key] = find_existing_data(config.data, self.paths).manifest()
            except (FusionBenchError, OSError):
                self._manifests[key] = ""
        return self._manifests[key]

    def _key(self, part: object) -> str:
        """Return a digest of a part of a configuration; the cells of a study share such parts, and are many."""
        kept = self._keys.get(id(part))
        if kept is None or kept[0] is not part:  # a kept part lives on, so that no other gets its number
            kept = self._keys[id(part)] = (part, digest(to_json(part)))
        return kept[1]

    def _read_data(self, config: CellConfig) -> DataDigests:
        try:
            return DataDigests(data_contents(config, self.paths, find_existing_data))
        except (FusionBenchError, OSError) as error:
            return DataDigests(problem=str(error))
        except Exception as error:  # the adapter of somebody else may raise anything
            return DataDigests(problem=f"{type(error).__name__}: {error}")

    def _weights_of(self, config: CellConfig) -> str:
        key = self._key(config.backbone) + self._key(config.data)
        if key not in self._weights:
            try:
                self._weights[key] = weights_file_digest(config, self.paths)
            except (FusionBenchError, OSError):
                self._weights[key] = ""  # a file that cannot be read is not known; who needs it says so
        return self._weights[key]
