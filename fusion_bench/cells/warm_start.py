"""The trained cell whose weights another cell starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.data.files import known_digest
from fusion_bench.errors import FusionBenchError, WeightsError
from fusion_bench.training.config import CellConfig

_WEIGHTS = "model.safetensors"


def source_folder(config: CellConfig, runs: Path) -> CellFolder | None:
    """Return the folder of the finished cell to warm-start from; None when training from scratch.

    Raises:
        FusionBenchError: that cell is not trained, or did not keep its weights; the message says how to train it.
    """
    if config.source is None:
        return None
    folder = cell_folder(runs, config.source.id)
    if folder.done and (folder.path / _WEIGHTS).exists():
        return folder
    problem = (
        "was trained without keeping its weights: delete its folder and" if folder.done else "is not trained:"
    )
    raise FusionBenchError(
        f"a cell starts from the weights of the cell {folder.path} (seed {config.seed}), which {problem} run the "
        "study named under start with --keep-weights"
    )


def starting_weights(config: CellConfig, runs: Path) -> Mapping[str, Tensor] | None:
    """Return the weights that a cell starts from, by parameter name; None when training from scratch.

    Raises:
        FusionBenchError: see `source_folder`; or the file is damaged.
    """
    folder = source_folder(config, runs)
    if folder is None:
        return None
    try:
        return load_file(folder.path / _WEIGHTS)
    except SafetensorError as error:
        raise WeightsError(
            f"{folder.path / _WEIGHTS} is damaged: {error}; delete the folder and train that cell again"
        ) from error


def starting_digest(config: CellConfig, runs: Path) -> str:
    """Return the SHA-256 of the weights that a cell starts from; empty if there are none, or they are gone."""
    file = cell_folder(runs, config.source.id).path / _WEIGHTS if config.source is not None else None
    return known_digest(file, runs / "cache" / "data") if file is not None and file.exists() else ""
