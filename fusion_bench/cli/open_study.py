"""A study file and where its data lie on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML, YAMLError

from fusion_bench.cells.run_cell import named_paths
from fusion_bench.errors import FusionBenchError
from fusion_bench.registries import DATASETS
from fusion_bench.samples.dataset import DataSet
from fusion_bench.spec.load import load_study
from fusion_bench.spec.signatures import signature_of
from fusion_bench.spec.study import Study
from fusion_bench.training.config import Component, DataConfig
from fusion_bench.training.paths import RunPaths


def open_study(file: Path, overrides: Sequence[str]) -> Study:
    """Read and check a study file.

    Raises:
        StudyFileError: lists everything that is wrong with it.
    """
    return load_study(file, overrides)


def paths_of(study: Study, runs: Path, data: Sequence[str], *, device: str, making: int) -> RunPaths:
    """Where the study's data, weights and runs lie; ``--data NAME=FOLDER`` beats the study file.

    Raises:
        FusionBenchError: ``data`` has an entry that is not NAME=FOLDER, or names no data set of the study.
    """
    named = named_paths(list(data))
    adapters = {read.name: read.adapter.target.load() for read in study.reads}
    for name in named:
        if name not in adapters or adapters[name].built_in:
            own = " and makes its own files" if adapters[study.data.name].built_in else ""
            raise FusionBenchError(f"--data {name}: the study {study.name!r} reads {study.data.name!r}{own}")
    roots = {**study.roots, **named}
    resolved = {name: root.expanduser().resolve() for name, root in roots.items()}
    return RunPaths(runs.resolve(), resolved, study.weight_files, device, making)


def data_config(name: str, settings: Sequence[str], size: tuple[int, int] = (8, 8)) -> DataConfig:
    """A data set by its name and ``KEY=VALUE`` settings, held to its constructor's types.

    Args:
        name: registered, ``package.module:Class`` or ``file.py[:Class]``.
        settings: values are YAML.
        size: height and width that images are resized to.

    Raises:
        FusionBenchError: there is no such data set, or it takes no such settings.
    """
    target = DATASETS.resolve(name)
    adapter: type[DataSet] = target.load()
    signature = signature_of(adapter)
    try:
        validated = signature.adapter.validate_json(json.dumps(_settings(settings)), strict=True)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise FusionBenchError(f"the data set {name!r} cannot take these settings ({wrong})") from error
    return DataConfig(adapter.name, Component(target, signature.kept(validated)), adapter.version, size)


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise FusionBenchError(f"--set {pair}: write KEY=VALUE")
        try:
            found[key] = YAML(typ="safe", pure=True).load(value)
        except YAMLError as error:
            raise FusionBenchError(f"--set {pair}: the value is not YAML") from error
    return found
