"""Reader for LaConvNet checkpoints, of the authors or of this package, that does not trust their content.

A file of the authors was written by ``torch.save``. It is a dictionary whose ``state_dict`` (``net_state_dict`` from
another of their functions) holds the weights; every name starts with ``module.`` if several GPUs trained the network.
A file of this package is a safetensors file with this package's names, and its metadata gives its format. Both are
read as data; code in them is never executed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.serialization import safe_globals

from fusion_bench.errors import WeightsError
from fusion_modules.laconvnet.encoder import BASE_STAGES, SMALL_STAGES, StageConfig
from fusion_modules.laconvnet.names import official_name

NetworkSize = Literal["s", "b"]
CheckpointTask = Literal["det", "seg"]

STAGES: Mapping[NetworkSize, tuple[StageConfig, ...]] = {"s": SMALL_STAGES, "b": BASE_STAGES}
CHECKPOINT_FORMAT = "1"
"""The version of the files of this package, stored under the metadata key ``laconvnet``."""

_WEIGHTS = ("state_dict", "net_state_dict")
_BOX, _MASK = "head.reg_preds.0.weight", "head.sconv.0.out_proj.weight"
_BLOCK = re.compile(r"visual_encoder\.blocks\.(\d+)\.(\d+)\.cond_generator\.")


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a checkpoint under the authors' names, with its variant, task and origin.

    Attributes:
        origin: name of the checkpoint in error messages: the file, or "the state_dict".
        weights: every tensor by its official name, without ``module.``.
        variant: "s" or "b", which follows from the number of blocks of each stage.
        task: "det" or "seg", which follows from the head.
        epoch: number of epochs of training; None if it is not recorded.
        vocabulary: the word of each row of the embedding; only a file of this package can have it.
    """

    origin: str
    weights: Mapping[str, Tensor]
    variant: NetworkSize
    task: CheckpointTask
    epoch: int | None
    vocabulary: tuple[str, ...] | None


def read_checkpoint(source: str | PathLike[str] | Mapping[str, Any]) -> Checkpoint:
    """Read a file of the authors, a file of this package, or the result of ``torch.load`` on a file of the authors.

    Raises:
        WeightsError: the source is none of them, is damaged, would execute code, or its names fit no LaConvNet.
    """
    if isinstance(source, Mapping):
        return _from_authors(source, "the state_dict")
    path = Path(source)
    if is_safetensors(path):
        return _from_safetensors(path)
    return _from_authors(_load_pickle(path), str(path))


def is_safetensors(path: Path) -> bool:
    """Return True if a file starts like safetensors: eight bytes of length, then JSON.

    Raises:
        WeightsError: the file cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error


def _load_pickle(path: Path) -> object:
    """Return the content of a file of ``torch.save`` without executing code from it.

    Raises:
        WeightsError: the file would execute code, is damaged, or has another format.
    """
    try:
        with safe_globals(_numpy_scalars()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # an arbitrary file can cause any exception
        executed = re.search(r"GLOBAL (\S+)", str(error))
        if executed:
            raise WeightsError(
                f"{path} was not read, because reading it would execute {executed[1]}; a checkpoint of weights "
                "does not need this. If you trust the file, save only its state_dict and give that file"
            ) from error
        raise WeightsError(
            f"{path} is not a checkpoint written by torch.save, or it is incomplete or damaged; get the file again"
        ) from error


def _numpy_scalars() -> list[Any]:
    """Return the objects that a NumPy number in a pickle needs, in both spellings of NumPy; they execute no code.

    Training loops store such numbers (a learning rate, for example) together with the weights.
    """
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"]
    spellings = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [np.dtype, *kinds, *spellings]


def _from_authors(container: object, origin: str) -> Checkpoint:
    """Return the checkpoint of a dictionary of the authors.

    Raises:
        WeightsError: the object holds no weights of a LaConvNet.
    """
    if not isinstance(container, Mapping):
        raise WeightsError(
            f"{origin} holds a {type(container).__name__}; it must hold a dictionary with a 'state_dict'"
        )
    named = [key for key in _WEIGHTS if key in container]
    if len(named) > 1:
        raise WeightsError(f"{origin} holds both {_WEIGHTS[0]!r} and {_WEIGHTS[1]!r}; keep only one of them")
    weights = container[named[0]] if named else container
    if not isinstance(weights, Mapping) or not weights or not all(map(_is_weight, weights.items())):
        raise WeightsError(
            f"{origin} holds no weights: it has no 'state_dict' and no 'net_state_dict', and it is not a state_dict"
        )
    epoch = container.get("epoch")
    return _checkpoint(
        origin,
        _without_prefix(weights, origin),
        int(epoch) if isinstance(epoch, int | np.integer) else None,
        None,
    )


def _is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _without_prefix(weights: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """Return the weights without the prefix ``module.``, which training on several GPUs adds to every name.

    Raises:
        WeightsError: only some names have the prefix.
    """
    prefix = "module."
    wrapped = [name for name in weights if name.startswith(prefix)]
    if wrapped and len(wrapped) < len(weights):
        bare = next(name for name in weights if not name.startswith(prefix))
        raise WeightsError(
            f"{origin} mixes {len(wrapped)} names with the prefix {prefix!r} ({wrapped[0]}, ...) and "
            f"{len(weights) - len(wrapped)} without it ({bare}, ...); give the weights of one network"
        )
    return {name.removeprefix(prefix): value for name, value in weights.items()}


def _from_safetensors(path: Path) -> Checkpoint:
    """Return the checkpoint of a file of this package.

    Raises:
        WeightsError: the file is damaged, has another origin, or contradicts its metadata.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes: dict[str, str] = file.metadata() or {}
            ours: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is an incomplete or damaged safetensors file; convert it again"
        ) from error
    if notes.get("laconvnet") != CHECKPOINT_FORMAT:
        raise WeightsError(
            f"{path} is a safetensors file that `fusion-bench convert laconvnet` (format {CHECKPOINT_FORMAT}) did "
            "not write; give the authors' checkpoint"
        )
    weights = {official: value for name, value in ours.items() if (official := official_name(name))}
    if len(weights) < len(ours):
        unknown = sorted(name for name in ours if official_name(name) is None)
        raise WeightsError(
            f"{path} holds tensors that no LaConvNet has: {', '.join(unknown)}; convert it again"
        )
    vocabulary = json.loads(notes["vocabulary"]) if "vocabulary" in notes else None
    checkpoint = _checkpoint(
        str(path),
        weights,
        int(notes["epoch"]) if "epoch" in notes else None,
        None if vocabulary is None else tuple(vocabulary),
    )
    if (notes.get("variant"), notes.get("task")) != (checkpoint.variant, checkpoint.task):
        raise WeightsError(
            f"the metadata of {path} says {notes.get('variant')} {notes.get('task')}, but its tensors are those of "
            f"{checkpoint.variant} {checkpoint.task}; convert it again"
        )
    return checkpoint


def _checkpoint(
    origin: str, weights: Mapping[str, Tensor], epoch: int | None, vocabulary: tuple[str, ...] | None
) -> Checkpoint:
    """Return the checkpoint with the variant and task that the names of its tensors imply."""
    return Checkpoint(origin, weights, _variant(weights, origin), _task(weights, origin), epoch, vocabulary)


def _variant(names: Iterable[str], origin: str) -> NetworkSize:
    """Return the variant whose stages have the same numbers of LaConv blocks.

    Raises:
        WeightsError: no variant has these numbers of blocks.
    """
    found = {(int(match[1]), int(match[2])) for match in map(_BLOCK.match, names) if match}
    if not found:
        raise WeightsError(f"{origin} is not a checkpoint of LaConvNet: it has no 'visual_encoder.blocks'")
    last = max(stage for stage, _ in found)
    blocks = [sum(stage == number for stage, _ in found) for number in range(last + 1)]
    known = {variant: [len(stage.kernel_sizes) for stage in stages] for variant, stages in STAGES.items()}
    for variant in get_args(NetworkSize):
        if blocks == known[variant]:
            return variant  # type: ignore[no-any-return]
    raise WeightsError(
        f"{origin} has {blocks} LaConv blocks in its stages; LaConvNet-S has {known['s']}, LaConvNet-B {known['b']}"
    )


def _task(names: Iterable[str], origin: str) -> CheckpointTask:
    """Return the task of the head.

    Raises:
        WeightsError: there is no head, or there are two.
    """
    heads: dict[str, CheckpointTask] = {_BOX: "det", _MASK: "seg"}
    found = [task for name, task in heads.items() if name in names]
    if len(found) == 1:
        return found[0]
    raise WeightsError(
        f"{origin} has {'both heads' if found else 'no head'}; a detection network has {_BOX!r}, a segmentation "
        f"network has {_MASK!r}, and no network has both"
    )
