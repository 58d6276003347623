"""A study file, and where the data that it names lie on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.spec import load
from fusion_bench.spec.study import Study
from fusion_bench.training.paths import RunPaths


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read and check a study file; nothing is trained, and nothing is written.

    Args:
        path: the study file.
        overrides: changes to its keys, as ``--set`` takes them: ``["train.epochs=3", "seeds=[0, 1]"]``. Each value
            is YAML and is checked as the file is.

    Returns:
        The study: its arms, seeds, data set, budget and search, as a frozen dataclass.

    Raises:
        StudyFileError: the file cannot be read, or asks for something impossible; the message lists every mistake,
            one a line.
    """
    return load.read_study(Path(path), one_or_more(overrides))


def one_or_more(overrides: str | Sequence[str]) -> tuple[str, ...]:
    """The overrides as a tuple; a single string is one override, not a sequence of letters."""
    return (overrides,) if isinstance(overrides, str) else tuple(overrides)


def run_paths(
    study: Study, runs: Path, data: Mapping[str, Path], *, device: str, data_workers: int
) -> RunPaths:
    """Return where the study's data, weights and runs lie on this machine.

    Args:
        study: the study.
        runs: the runs folder.
        data: folder of each data set by its name; it takes precedence over the study file.
        device: torch's name of the device that cells are trained on.
        data_workers: how many processes may make and decode data.

    Raises:
        FusionBenchError: ``data`` names a data set that the study does not read, or one that makes its own files.
    """
    adapters = {read.name: read.adapter.target.load() for read in study.data_sets}
    for name in data:
        if name not in adapters or adapters[name].built_in:
            own = " and makes its own files" if adapters[study.data.name].built_in else ""
            raise FusionBenchError(
                f"the data set {name!r} cannot be given a folder: the study {study.name!r} reads "
                f"{study.data.name!r}{own}; leave {name!r} out"
            )
    roots = {name: root.expanduser().resolve() for name, root in {**study.roots, **data}.items()}
    return RunPaths(runs.expanduser().resolve(), roots, study.weight_files, device, data_workers)
