"""Opens the data set and builds the task and the initial backbone of a cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fusion_bench.data.files import known_digest, require_all
from fusion_bench.encoders.download import cached_weights
from fusion_bench.encoders.packages import package_of
from fusion_bench.encoders.vision import Backbone, build_backbone
from fusion_bench.errors import DataError, FusionBenchError, WeightsError
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.split import Split
from fusion_bench.storage import folder_digest
from fusion_bench.tasks.task import Task
from fusion_bench.training.config import CellConfig, DataConfig, hashed_files
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.pretext.task import PretextTask
from fusion_bench.training.pretext.weights import (
    PretextWeights,
    make_pretext_weights,
    read_pretext_weights,
)
from fusion_bench.training.seeds import seeded_rng
from fusion_bench.training.splits import known_texts, read_split, task_class

UNIT_NORMALISATION = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
"""Mean and standard deviation per colour channel that leave the values in [0, 1]."""


def open_data(config: DataConfig, paths: RunPaths) -> DataSet:
    """Return the data set, opened: a built-in one generates its files, any other one checks them.

    Raises:
        FusionBenchError: the folder of the data set is not known.
        DataError: files of the data set are missing or damaged.
    """
    data = find_data(config, paths)
    data.prepare(paths.workers)
    return data


def find_data(config: DataConfig, paths: RunPaths) -> DataSet:
    """Return the data set without opening it: nothing is generated, and no file is checked.

    Raises:
        FusionBenchError: the folder of the data set is not known.
    """
    data = declared_data(config, paths.root(config))
    data.cache = paths.cache / "data"
    data.notify = paths.notify
    return data


def declared_data(config: DataConfig, root: Path = Path()) -> DataSet:
    """Return the data set of a folder, or for its declarations alone: splits, tasks, cautions."""
    adapter: type[DataSet] = config.adapter.target.load()
    settings = {key: _to_tuple(value) for key, value in config.adapter.settings.items()}
    return adapter(root, **settings)  # type: ignore[call-arg]


def find_existing_data(config: DataConfig, paths: RunPaths) -> DataSet:
    """Return the data set after checking that its listed files exist; nothing is generated or read.

    Raises:
        FusionBenchError: the folder of the data set is not known.
        DataError: files do not exist, or a built-in data set is not generated yet.
    """
    data = find_data(config, paths)
    if not data.built_in:
        require_all(data.files(), data.homepage)
    elif not paths.root(config).exists():
        raise DataError(f"the built-in data set {data.name} is not in {paths.cache}; a run generates it")
    return data


def first_of_chain(config: CellConfig) -> CellConfig:
    """Return the settings of the cell that the first weights of a chain of starts were trained by."""
    while config.start is not None:
        config = config.start
    return config


def data_contents(
    config: CellConfig, paths: RunPaths, find: Callable[[DataConfig, RunPaths], DataSet] = open_data
) -> dict[str, str]:
    """Return the digests of the files of a cell's data set (`DataSet.contents`).

    A cell that starts from another cell's weights also reads the data set of the first cell of that chain; its files
    stand under ``NAME: FILE``.

    Args:
        config: the settings of the cell.
        paths: paths on this machine.
        find: returns a data set; `find_existing_data` generates nothing.

    Raises:
        FusionBenchError: a data set cannot be opened.
    """
    contents = dict(find(config.data, paths).contents())
    first = first_of_chain(config)
    if first.data != config.data:
        own = find(first.data, paths).contents()
        contents |= {f"{first.data.name}: {name}": sha256 for name, sha256 in own.items()}
    return contents


def weights_file(config: CellConfig, paths: RunPaths) -> Path | None:
    """Return the file on this machine that the backbone's initial weights are read from.

    None for random weights, without a backbone, and where the file is not here yet. The file of ``weights: file`` is
    part of the cell's identity and is not returned.
    """
    backbone = config.backbone
    if backbone is not None and backbone.weights == "imagenet":
        return cached_weights(backbone.name)
    if backbone is not None and backbone.weights == "package":
        return package_of(backbone.name).find()
    task = _pretext_task(config)
    file = None if task is None else task.file(paths.cache)
    return file if file is not None and file.exists() else None


def weights_file_digest(config: CellConfig, paths: RunPaths) -> str:
    """Return the SHA-256 of `weights_file`; empty without one."""
    file = weights_file(config, paths)
    return "" if file is None else known_digest(file, paths.cache / "data")


def check_named_files(config: CellConfig, paths: RunPaths) -> None:
    """Check that the files that a cell names by SHA-256 have that content.

    Raises:
        WeightsError: a file has another content: it changed after the study was read, or the path is wrong.
    """
    for sha256 in hashed_files(config):
        path = paths.weight_files.get(sha256)
        if path is None or not path.exists():
            continue  # who reads it says so
        found = folder_digest(path) if path.is_dir() else known_digest(path, paths.cache / "data")
        if found != sha256:
            raise WeightsError(
                f"{path} has the SHA-256 {found}, but the cell asks for {sha256}; the file changed after the study "
                "was read, or --weights names another file"
            )


def resizing_of(config: DataConfig) -> Resizing:
    """Return how images are resized to the input of the network."""
    return Resizing(*config.image_size, config.resize == "letterbox")


def make_task(config: CellConfig, train: Split) -> Task:
    """Return the task of a cell; its answers come from the training split ``train``."""
    return task_class(config.data)(train, resizing_of(config.data), config.head.kind)


def _to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def initial_backbone(config: CellConfig, paths: RunPaths, pretext: PretextWeights | None) -> Backbone | None:
    """Return the backbone of a cell with its initial weights; None for an end-to-end network.

    Random weights come from the stream ``init/backbone`` of the cell's seed.

    Args:
        config: the settings of the cell.
        paths: paths on this machine.
        pretext: the pretext weights; None if the cell asks for other weights.

    Raises:
        FusionBenchError: the path of the weights file is not known.
        WeightsError: the weights cannot be read or downloaded, or do not fit.
    """
    settings = config.backbone
    if settings is None:
        return None
    weights_file = None
    if settings.weights == "file":
        weights_file = paths.weight_files.get(settings.weights_sha256 or "")
        if weights_file is None:
            raise FusionBenchError(
                f"the weights of the backbone {settings.name} are the file with SHA-256 {settings.weights_sha256}, "
                f"whose path is not known; pass --weights {settings.weights_sha256}=PATH"
            )
    if pretext is not None:
        weights_file = pretext.file
    with seeded_rng("init/backbone", config.seed):
        backbone = build_backbone(
            settings.name,
            layer=settings.layer,
            weights=settings.weights,
            weights_file=weights_file,
            image_size=config.data.image_size,
            frozen=settings.frozen,
        )
    return set_normalisation(backbone, config.data)


def set_normalisation(backbone: Backbone, config: DataConfig) -> Backbone:
    """Return the same backbone after setting the mean and standard deviation of its images as a study asks."""
    if config.normalise == "none":
        backbone.mean, backbone.std = UNIT_NORMALISATION
    return backbone


def make_pretext(config: CellConfig, paths: RunPaths) -> None:
    """Train the pretext backbone that a cell starts from, if the cell asks for one and the cache lacks it."""
    task = _pretext_task(config)
    if task is not None:
        make_pretext_weights(task, paths.cache, paths.notify)


def read_pretext(config: CellConfig, paths: RunPaths) -> PretextWeights | None:
    """Return the pretext weights for a cell's backbone and data; None if the cell asks for other weights.

    Raises:
        WeightsError: the cache does not hold them; `make_pretext` trains them.
    """
    task = _pretext_task(config)
    return None if task is None else read_pretext_weights(task, paths.cache)


def _pretext_task(config: CellConfig) -> PretextTask | None:
    backbone = config.backbone
    if backbone is None or backbone.weights != "pretext":
        return None
    adapter: type[DataSet] = config.data.adapter.target.load()
    return PretextTask(
        backbone.name, backbone.layer, config.data.image_size, condition=adapter.pretext_condition
    )


def vocabulary_sources(
    config: CellConfig, data: DataSet, train: Split, paths: RunPaths
) -> tuple[Split, list[str]]:
    """Return the training split that a cell's answers come from, and the texts that its vocabulary comes from.

    A cell that starts from another cell's weights uses the answers and the vocabulary of the first cell of that
    chain.

    Args:
        config: the settings of the cell.
        data: the cell's own data set, opened.
        train: the training split of ``data``.
        paths: paths on this machine.

    Raises:
        FusionBenchError: the first cell's data set cannot be opened.
    """
    first = first_of_chain(config)
    if first is not config:
        data = open_data(first.data, paths)
        train = read_split(data, data.splits.train, first.data, paths.workers).split
    return train, known_texts(data, train, first.data)
