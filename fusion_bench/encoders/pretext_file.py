"""The file of weights that the pretext task trained: a backbone up to some layer, and the heads of the task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from fusion_bench.encoders.timm_models import create_network, tagged_name
from fusion_bench.errors import WeightsError
from fusion_bench.storage import replacing

PRETEXT_HEADS = "pretext_heads."
"""The names of the heads' weights in the file begin so; no model of timm has such a part."""
_AGAIN = "remove the file, and run the study again to train them"


def save_pretext(net: nn.Module, path: Path, name: str, heads: Mapping[str, Tensor]) -> None:
    """Write a backbone's weights to a file for ``weights: pretext``; an interruption leaves no partial file.

    Args:
        net: timm's feature network.
        path: the file.
        name: timm's name of the model; the file's metadata hold it.
        heads: the weights of the task's heads, which `load_pretext` does not read.
    """
    state = {**net.state_dict(), **{f"{PRETEXT_HEADS}{head}": value for head, value in heads.items()}}
    state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    with replacing(path) as part:
        safetensors.torch.save_file(state, part, metadata={"backbone": name})


def load_pretext(net: nn.Module, path: Path, name: str, layer: int, image_size: tuple[int, int]) -> None:
    """Load the weights of a network from a file of `save_pretext`; the file may hold later layers too.

    Args:
        net: timm's feature network up to ``layer``.
        path: the file.
        name: timm's name of the model; without a tag, timm's own choice of one is meant.
        layer: index of the last map.
        image_size: height and width of the images in pixels.

    Raises:
        WeightsError: the file is damaged or of another model, lacks a weight, or holds one that the model has not.
    """
    recorded, saved = _read(path)
    if recorded is None or tagged_name(recorded) != tagged_name(name):
        found = "names no backbone" if recorded is None else f"holds the weights of {recorded!r}"
        raise WeightsError(f"{path} {found}, but those of {name!r} are needed; {_AGAIN}")
    wanted, saved = net.state_dict(), {key: saved[key] for key in saved if not key.startswith(PRETEXT_HEADS)}
    missing, further = wanted.keys() - saved.keys(), saved.keys() - wanted.keys()
    if further:
        with torch.device("meta"):
            further -= create_network(name, -1, image_size).state_dict().keys()
    if missing or further:
        problem = f"lacks {min(missing)}" if missing else f"holds {min(further)}, which the model has not"
        raise WeightsError(
            f"{path} does not contain the weights of {name!r} up to layer {layer}: it {problem}; {_AGAIN}"
        )
    try:
        net.load_state_dict({key: saved[key] for key in wanted})
    except RuntimeError as error:
        raise WeightsError(f"{path} holds weights of other shapes than {name!r} has; {_AGAIN}") from error


def _read(path: Path) -> tuple[str | None, dict[str, Tensor]]:
    """Return the name of the model, None where the file has none, and the weights by name."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            names = file.keys()  # the file itself is no mapping
            return (file.metadata() or {}).get("backbone"), {key: file.get_tensor(key) for key in names}
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path} is damaged or not a safetensors file ({error}); {_AGAIN}") from error
