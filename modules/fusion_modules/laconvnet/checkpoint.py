"""Reading a LaConvNet checkpoint, the authors' or one of our own, without believing it.

A file of the authors is what ``torch.save`` wrote: a dictionary whose ``state_dict`` (``net_state_dict`` from
their other helper) holds the weights, with ``module.`` before every name if several GPUs trained it. A file
of our own is a safetensors file with our names, and says in its metadata what it is. Both are read as data:
nothing in them is ever run.
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
"""Version of our own files; written under the metadata key ``laconvnet``."""

_WEIGHTS = ("state_dict", "net_state_dict")
_BOX, _MASK = "head.reg_preds.0.weight", "head.sconv.0.out_proj.weight"
_BLOCK = re.compile(r"visual_encoder\.blocks\.(\d+)\.(\d+)\.cond_generator\.")


@dataclass(frozen=True)
class Checkpoint:
    """Weights under the authors' names, and what is known about them.

    Attributes:
        origin: what to call it in a message: the file, or "the state_dict".
        weights: every tensor by its official name, without ``module.``.
        variant: "s" or "b", told from the number of blocks of each stage.
        task: "det" or "seg", told from the head.
        epoch: finished epochs of training; None if it is not recorded.
        vocabulary: the words of the embedding's rows, which only a file of our own knows.
    """

    origin: str
    weights: Mapping[str, Tensor]
    variant: NetworkSize
    task: CheckpointTask
    epoch: int | None
    vocabulary: tuple[str, ...] | None


def read_checkpoint(source: str | PathLike[str] | Mapping[str, Any]) -> Checkpoint:
    """Read a file of the authors, a file of our own, or what ``torch.load`` made of the former.

    Raises:
        WeightsError: it is none of them, it is damaged, it would run code, or its names fit no LaConvNet.
    """
    if isinstance(source, Mapping):
        return _of_authors(source, "the state_dict")
    path = Path(source)
    if is_safetensors(path):
        return _of_ours(path)
    return _of_authors(_unpickled(path), str(path))


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: eight bytes of length, then JSON.

    Raises:
        WeightsError: it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error


def _unpickled(path: Path) -> object:
    try:
        with safe_globals(_numpy_scalars()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a foreign file fails in any way at all
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted:
            raise WeightsError(
                f"{path} wants {wanted[1]} to be run while it is read, which a checkpoint of weights never "
                "needs, so it was not read; if you trust it, save its state_dict alone and take that file"
            ) from error
        raise WeightsError(
            f"{path} is not a checkpoint that torch.save wrote, or it is cut off or damaged; get the file again"
        ) from error


def _numpy_scalars() -> list[Any]:
    """What a NumPy number in a pickle is made of, in NumPy's present and former spelling; none of it runs code.

    Training loops leave such numbers (a learning rate, say) beside the weights.
    """
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"]
    spellings = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [np.dtype, *kinds, *spellings]


def _of_authors(container: object, origin: str) -> Checkpoint:
    if not isinstance(container, Mapping):
        raise WeightsError(
            f"{origin} holds a {type(container).__name__}; expected a dictionary with a 'state_dict'"
        )
    named = [key for key in _WEIGHTS if key in container]
    if len(named) > 1:
        raise WeightsError(f"{origin} holds both {_WEIGHTS[0]!r} and {_WEIGHTS[1]!r}; leave only one in it")
    weights = container[named[0]] if named else container
    if not isinstance(weights, Mapping) or not weights or not all(map(_is_weight, weights.items())):
        raise WeightsError(
            f"{origin} holds no weights: neither a 'state_dict' nor a 'net_state_dict', nor is it one itself"
        )
    epoch = container.get("epoch")
    return _told(
        origin,
        _without_prefix(weights, origin),
        int(epoch) if isinstance(epoch, int | np.integer) else None,
        None,
    )


def _is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _without_prefix(weights: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """Names without the one ``module.`` that training on several GPUs puts before all of them."""
    prefix = "module."
    wrapped = [name for name in weights if name.startswith(prefix)]
    if wrapped and len(wrapped) < len(weights):
        bare = next(name for name in weights if not name.startswith(prefix))
        raise WeightsError(
            f"{origin} mixes {len(wrapped)} names with {prefix!r} before them ({wrapped[0]}, ...) and "
            f"{len(weights) - len(wrapped)} without ({bare}, ...); take the weights of one network"
        )
    return {name.removeprefix(prefix): value for name, value in weights.items()}


def _of_ours(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            notes: dict[str, str] = file.metadata() or {}
            ours: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path} is a safetensors file cut off or damaged; convert it again") from error
    if notes.get("laconvnet") != CHECKPOINT_FORMAT:
        raise WeightsError(
            f"{path} is a safetensors file that `fusion-bench convert laconvnet` (format {CHECKPOINT_FORMAT}) "
            "did not write; give it the authors' checkpoint"
        )
    weights = {official: value for name, value in ours.items() if (official := official_name(name))}
    if len(weights) < len(ours):
        unknown = sorted(name for name in ours if official_name(name) is None)
        raise WeightsError(
            f"{path} holds tensors that no LaConvNet has: {', '.join(unknown)}; convert it again"
        )
    vocabulary = json.loads(notes["vocabulary"]) if "vocabulary" in notes else None
    told = _told(
        str(path),
        weights,
        int(notes["epoch"]) if "epoch" in notes else None,
        None if vocabulary is None else tuple(vocabulary),
    )
    if (notes.get("variant"), notes.get("task")) != (told.variant, told.task):
        raise WeightsError(
            f"{path} calls itself {notes.get('variant')} {notes.get('task')} and holds {told.variant} {told.task}; "
            "convert it again"
        )
    return told


def _told(
    origin: str, weights: Mapping[str, Tensor], epoch: int | None, vocabulary: tuple[str, ...] | None
) -> Checkpoint:
    return Checkpoint(origin, weights, _variant(weights, origin), _task(weights, origin), epoch, vocabulary)


def _variant(names: Iterable[str], origin: str) -> NetworkSize:
    """The network whose stages have as many LaConv blocks."""
    found = {(int(match[1]), int(match[2])) for match in map(_BLOCK.match, names) if match}
    if not found:
        raise WeightsError(f"{origin} is not a LaConvNet's: it has no 'visual_encoder.blocks'")
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
    heads: dict[str, CheckpointTask] = {_BOX: "det", _MASK: "seg"}
    found = [task for name, task in heads.items() if name in names]
    if len(found) == 1:
        return found[0]
    raise WeightsError(
        f"{origin} has {'both heads' if found else 'no head'}; a detection network has {_BOX!r}, a segmentation "
        f"network {_MASK!r}, and never both"
    )
