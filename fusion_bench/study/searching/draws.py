"""The settings that a search drew before, so that repeating it over finished cells draws nothing anew.

Fitting a Gaussian process takes seconds for each trial, and another processor or another version of a library may
draw other settings from the same values. So what was drawn is written down under a digest of everything that it was
drawn from. What is not found is drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fusion_bench.contract import Choice, Space
from fusion_bench.errors import FusionBenchError
from fusion_bench.storage import read_json, write_json
from fusion_bench.training.config import Json


class Draws:
    """The settings of batches of trials by the digest of what they were drawn from.

    Args:
        file: where they are kept; a file that is damaged counts as empty. None keeps them in memory.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._batches: dict[str, list[dict[str, Json]]] = {} if file is None else _read(file)
        self._kept = len(self._batches)

    def find(self, key: str, trials: int, space: Mapping[str, Space]) -> list[dict[str, Json]] | None:
        """Return the settings of a batch of so many trials from a space; None if it was not drawn before."""
        batch = self._batches.get(key, [])
        whole = len(batch) == trials and all(_within(settings, space) for settings in batch)
        return batch if whole else None

    def add(self, key: str, drawn: Sequence[Mapping[str, Json]]) -> None:
        """Take the settings of a batch."""
        self._batches[key] = [dict(settings) for settings in drawn]

    def save(self) -> None:
        """Write the file if there is more than it holds."""
        if self._file is not None and len(self._batches) > self._kept:
            write_json(self._file, self._batches)
            self._kept = len(self._batches)


def _within(settings: Mapping[str, Json], space: Mapping[str, Space]) -> bool:
    if settings.keys() != space.keys():
        return False
    for name, value in settings.items():
        item = space[name]
        if isinstance(item, Choice):
            if value not in item.values:
                return False
        elif not isinstance(value, int | float) or not item.low <= value <= item.high:
            return False
    return True


def _read(file: Path) -> dict[str, list[dict[str, Json]]]:
    try:
        found = read_json(file)
    except FusionBenchError:
        return {}
    whole = isinstance(found, dict) and all(
        isinstance(batch, list) and all(isinstance(settings, dict) for settings in batch)
        for batch in found.values()
    )
    return found if whole else {}
