"""A reader of timm checkpoints that runs no code from them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from timm.models import clean_state_dict
from torch import Tensor
from torch.serialization import safe_globals

from fusion_bench.errors import WeightsError

_PARTS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""The keys under which training loops store weights; timm takes the first one that there is, too."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by name, without the prefixes of wrappers (``module.``).

    The content decides on the format, not the name: a safetensors file, or a file of ``torch.save`` with weights or
    with a training loop's dictionary around them.

    Raises:
        WeightsError: the file is damaged, would run code, or holds no weights.
    """
    try:
        content: object = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        if path.suffix == ".safetensors":
            raise WeightsError(f"{path} is damaged or not a safetensors file ({error})") from error
        content = _load_pickle(path)
    if isinstance(content, Mapping):
        part = next((key for key in _PARTS if content.get(key) is not None), None)
        content = content if part is None else content[part]
    if not isinstance(content, Mapping) or not content or not all(map(_is_weight, content.items())):
        raise WeightsError(
            f"{path} holds no weights: neither a dictionary of tensors by name, nor one under the key "
            f"{', '.join(_PARTS[:-1])} or {_PARTS[-1]}"
        )
    weights: dict[str, Tensor] = clean_state_dict(dict(content))
    return weights


def timm_source(name: str, path: Path) -> Mapping[str, Any]:
    """Return the content of a weights file as an overlay for timm's record of the place of its weights.

    The file is read here, because some versions of timm run code from files of ``torch.save``. Only an archive of
    NumPy arrays, which contains no code, is left to timm.

    Raises:
        WeightsError: the file is damaged, would run code, or holds no weights.
    """
    if path.suffix == ".npz":
        return {"file": str(path)}
    try:
        return {"state_dict": read_weights(path)}
    except WeightsError as error:
        raise WeightsError(f"cannot load the weights of {name!r}: {error}") from error


def _is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _load_pickle(path: Path) -> object:
    """Return the content of a file of ``torch.save`` without running code from it.

    Raises:
        WeightsError: the file would run code, is damaged, or has another format.
    """
    try:
        with safe_globals([argparse.Namespace, *_numpy_scalars()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # an arbitrary file can cause any exception
        run = re.search(r"GLOBAL (\S+)", str(error))
        if run:
            raise WeightsError(
                f"{path} was not read, because reading it would run {run[1]}; if you trust the file, save only its "
                "weights (state_dict) and name that file"
            ) from error
        raise WeightsError(
            f"{path} is damaged, or neither a safetensors file nor one of torch.save"
        ) from error


def _numpy_scalars() -> list[Any]:
    """Return the objects that a NumPy number in a pickle needs, in both spellings of NumPy; they run no code.

    Training loops store such numbers (the best accuracy, for example) beside the weights.
    """
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"]
    spellings = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [np.dtype, *kinds, *spellings]
