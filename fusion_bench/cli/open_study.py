"""The study file, its paths on this machine, and data sets given on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import typer
from pydantic import ValidationError
from ruamel.yaml import YAML, YAMLError

from fusion_bench.api.study import run_paths
from fusion_bench.errors import FusionBenchError
from fusion_bench.registries import DATASETS
from fusion_bench.samples.dataset import DataSet
from fusion_bench.spec.document.files import read_study_tree
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.load import read_study
from fusion_bench.spec.signatures import canonical_settings, missing_declarations, signature_of
from fusion_bench.spec.smoke import smoke_study
from fusion_bench.spec.study import Study
from fusion_bench.study.last_run import LastRun, read_last_run
from fusion_bench.study.run import study_folder
from fusion_bench.training.config import Component, DataConfig
from fusion_bench.training.paths import RunPaths, parse_named_paths


def open_study(file: Path, overrides: Sequence[str]) -> Study:
    """Read and check a study file.

    Raises:
        StudyFileError: the file has problems; the message lists all of them.
    """
    return read_study(file, overrides)


@dataclass(frozen=True, eq=False)
class OpenedStudy:
    """A study as its last run read it, where its files lie, and the last run; None if it never ran."""

    study: Study
    paths: RunPaths
    last: LastRun | None


def open_as_last_run(
    source: Path, runs: Path, overrides: Sequence[str], data: Sequence[str], *, device: str, data_workers: int
) -> OpenedStudy:
    """Read a study as its last run did; print one line on standard error about what was taken from there.

    Args:
        source: the study file, or the folder ``runs/studies/NAME`` of a study that has run.
        runs: the runs folder; for a folder, the one that holds it.
        overrides: ``KEY=VALUE`` texts; those of the last run if there are none.
        data: ``NAME=FOLDER`` texts; those of the last run for data sets that they do not name.
        device: torch's name of the device.
        data_workers: number of processes that may read data.

    Raises:
        StudyFileError: the study file has problems.
        FusionBenchError: ``source`` is a folder of no run, or the study file of that run is gone.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it reports each search that it replays
    last: LastRun | None
    if source.is_dir():
        source, runs, last = _study_of_folder(source)
    else:
        last = _last_run(source, runs, overrides)
    given = parse_named_paths(list(data))
    folders = {} if last is None else {name: root for name, root in last.data.items() if name not in given}
    taken = () if last is None or overrides else last.overrides
    _say_what_was_taken(last, taken, folders)
    study = _named(open_study(source, tuple(overrides) or taken), last)
    if (
        last is not None
        and last.overrides == study.overrides
        and last.text_digest not in {"", study.text_digest}
    ):
        typer.echo(f"{source} was edited since the last run of {study.name}", err=True)
    named = {config.name for config in study.data_sets}
    folders = {name: root for name, root in folders.items() if name in named}
    paths = run_paths(study, runs, {**folders, **given}, device=device, data_workers=data_workers)
    return OpenedStudy(study, paths, last)


def _study_of_folder(folder: Path) -> tuple[Path, Path, LastRun]:
    """Return the study file, the runs folder and the last run of ``runs/studies/NAME``."""
    last = read_last_run(folder)
    if last is None:
        raise FusionBenchError(
            f"{folder} is no folder of a study that has run (it has no plan.json); name a study file, or a folder "
            "such as runs/studies/quickstart"
        )
    if last.file is None or not last.file.is_file():
        problem = f"{last.file} is not there any more" if last.file else "its study file is not known"
        runs = folder.resolve().parent.parent
        raise FusionBenchError(f"{folder}: {problem}; name the study file instead, with --runs {runs}")
    return last.file, folder.resolve().parent.parent, last


def _last_run(file: Path, runs: Path, overrides: Sequence[str]) -> LastRun | None:
    """Return the last run of the study in a file; None if there is none, or the file cannot be read."""
    tree = read_study_tree(file, overrides, Problems())
    name = None if tree is None else tree.children.get("name")
    if name is None or not isinstance(name.value, str) or Path(name.value).name != name.value:
        return None  # who reads the whole file says what is wrong
    last = read_last_run(study_folder(runs.expanduser(), name.value))
    if last is None or last.file in {None, file.resolve()} or not last.file.is_file():
        return last  # the same file, or one that was moved
    typer.echo(
        f"the last run of {name.value} read another file, {last.file}; its --set and --data are not used",
        err=True,
    )
    return replace(last, overrides=(), data={}, text_digest="")


def _named(study: Study, last: LastRun | None) -> Study:
    """Return the study that the last run trained: the study of the file, or its smoke run."""
    if last is None or study.name == last.study:
        return study
    smoke = smoke_study(study)
    if smoke.name == last.study:
        return smoke
    if last.study in {context.name for context in study.contexts.values()}:
        raise FusionBenchError(
            f"{last.study} is a context of {study.name}, whose report holds it; name that study"
        )
    raise FusionBenchError(
        f"{study.path} holds the study {study.name!r}, but {last.study!r} was run; name the file of that study"
    )


def _say_what_was_taken(last: LastRun | None, overrides: Sequence[str], folders: Mapping[str, Path]) -> None:
    """Print the options of the last run that this command uses; nothing if there are none."""
    options = [f"--set {item}" for item in overrides]
    options += [f"--data {name}={root}" for name, root in folders.items()]
    if last is not None and options:
        typer.echo(
            f"as in the last run of {last.study}: {' '.join(options)} (give others to change that; a new `run` needs "
            "them again)",
            err=True,
        )


def data_config(
    name: str, settings: Sequence[str], size: tuple[int, int] = (8, 8), *, small: bool = False
) -> DataConfig:
    """Return a data set from its name and ``KEY=VALUE`` settings, checked against the types of its constructor.

    Args:
        name: a registered name, ``package.module:Class`` or ``file.py[:Class]``.
        settings: pairs ``KEY=VALUE``; the values are YAML.
        size: height and width of the resized images.
        small: a built-in data set has its toy settings where ``settings`` give none.

    Raises:
        FusionBenchError: the data set does not exist, or it does not accept the settings.
    """
    target, adapter = DATASETS.find(name)
    if not issubclass(adapter, DataSet):
        raise FusionBenchError(f"{name} is no data set: derive it from fusion_bench.samples.dataset.DataSet")
    if missing := missing_declarations(adapter, DataSet):
        raise FusionBenchError(f"{name} does not define {', '.join(missing)}")
    signature = signature_of(adapter)
    try:
        toy = adapter.toy_settings if small and adapter.built_in else {}
        given = {**toy, **_settings(settings)}
        validated = signature.adapter.validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise FusionBenchError(
            f"the data set {name!r} does not accept these settings ({problems}); give them as --set KEY=VALUE, and "
            f"see fusion-bench list datasets {name}"
        ) from error
    own = canonical_settings(adapter, signature, signature.without_defaults(validated))
    return DataConfig(adapter.name, Component(target, own), adapter.version, size)


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise FusionBenchError(f"--set {pair}: write KEY=VALUE")
        try:
            parsed[key] = YAML(typ="safe", pure=True).load(value)
        except YAMLError as error:
            raise FusionBenchError(f"--set {pair}: the value is not YAML") from error
    return parsed
