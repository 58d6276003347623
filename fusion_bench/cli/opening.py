"""A study file and where its data lie on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.samples import DataSet
from fusion_bench.study.cell import named_paths
from fusion_bench.study.spec import Study, load_study
from fusion_bench.training.materials import Places


def open_study(file: Path, overrides: Sequence[str]) -> Study:
    """Read and check a study file.

    Raises:
        StudyFileError: lists everything that is wrong with it.
    """
    return load_study(file, overrides)


def places_of(study: Study, runs: Path, data: Sequence[str], *, device: str, making: int) -> Places:
    """Where the study's data, weights and runs lie; ``--data NAME=FOLDER`` beats the study file.

    Raises:
        FusionBenchError: ``data`` has an entry that is not NAME=FOLDER, or names no data set of the study.
    """
    named, adapter = named_paths(list(data)), study.data.adapter.target.load()
    assert issubclass(adapter, DataSet)  # noqa: S101 - the study was checked
    for name in named:
        if name != study.data.name or adapter.built_in:
            own = " and makes its own files" if adapter.built_in else ""
            raise FusionBenchError(f"--data {name}: the study {study.name!r} reads {study.data.name!r}{own}")
    roots = {**study.roots, **named}
    resolved = {name: root.expanduser().resolve() for name, root in roots.items()}
    return Places(runs.resolve(), resolved, study.weight_files, device, making)
