"""A study file and where its data lie on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
    """Where the study's data, weights and runs lie; ``--data NAME=FOLDER`` beats the study file."""
    roots = {**study.roots, **named_paths(list(data))}
    resolved = {name: root.expanduser().resolve() for name, root in roots.items()}
    return Places(runs.resolve(), resolved, study.weight_files, device, making)
