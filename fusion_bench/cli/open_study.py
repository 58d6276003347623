"""The study file, its paths on this machine, and data sets given on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML, YAMLError

from fusion_bench.api.study import run_paths
from fusion_bench.errors import FusionBenchError
from fusion_bench.registries import DATASETS
from fusion_bench.samples.dataset import DataSet
from fusion_bench.spec.load import read_study
from fusion_bench.spec.signatures import missing_declarations, signature_of
from fusion_bench.spec.study import Study
from fusion_bench.training.config import Component, DataConfig
from fusion_bench.training.paths import RunPaths, parse_named_paths


def open_study(file: Path, overrides: Sequence[str]) -> Study:
    """Read and check a study file.

    Raises:
        StudyFileError: the file has problems; the message lists all of them.
    """
    return read_study(file, overrides)


def paths_of(study: Study, runs: Path, data: Sequence[str], *, device: str, data_workers: int) -> RunPaths:
    """Return the paths of data, weights and runs; ``--data NAME=FOLDER`` has priority over the study file.

    Raises:
        FusionBenchError: ``data`` has an entry that is not NAME=FOLDER, or names no data set of the study.
    """
    return run_paths(study, runs, parse_named_paths(list(data)), device=device, data_workers=data_workers)


def data_config(name: str, settings: Sequence[str], size: tuple[int, int] = (8, 8)) -> DataConfig:
    """Return a data set from its name and ``KEY=VALUE`` settings, checked against the types of its constructor.

    Args:
        name: a registered name, ``package.module:Class`` or ``file.py[:Class]``.
        settings: pairs ``KEY=VALUE``; the values are YAML.
        size: height and width of the resized images.

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
        validated = signature.adapter.validate_json(json.dumps(_settings(settings)), strict=True)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise FusionBenchError(
            f"the data set {name!r} does not accept these settings ({problems})"
        ) from error
    return DataConfig(
        adapter.name, Component(target, signature.without_defaults(validated)), adapter.version, size
    )


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
