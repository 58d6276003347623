"""timm's models by name: their feature networks, their layers, and errors that say what there is instead."""

from __future__ import annotations

import pickle  # only for its exception: nothing is unpickled here
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import timm
import torch
from timm.models import get_pretrained_cfg
from torch import nn

from fusion_bench.encoders.checkpoint import timm_source
from fusion_bench.encoders.input_sizes import feature_model, size_problem
from fusion_bench.errors import FusionBenchError, WeightsError
from fusion_bench.registry import UnknownNameError, did_you_mean

# Exceptions of timm when a download fails, or a file is truncated or is not a checkpoint of the model.
_LOADING_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    AttributeError,
    EOFError,
    pickle.UnpicklingError,
    safetensors.SafetensorError,
)


def create_network(
    name: str,
    layer: int | tuple[int, ...],
    image_size: tuple[int, int],
    source: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Create a ``features_only`` model; ``source`` overlays timm's record of the place of its weights.

    Raises:
        WeightsError: the weights of ``source`` cannot be loaded.
        FusionBenchError: the layer does not exist, or the model does not accept the image size.
    """
    overlay: dict[str, Any] = {}
    if source is not None:
        # timm removes classifiers from the dictionary that it is given.
        copied = {key: dict(value) if isinstance(value, dict) else value for key, value in source.items()}
        overlay = {"pretrained": True, "pretrained_cfg_overlay": copied}
    try:
        net = feature_model(name, layer, image_size, **overlay)
    except (AssertionError, IndexError, ArithmeticError, *_LOADING_ERRORS) as error:
        reason = first_line(error)
        layer = layer[-1] if isinstance(layer, tuple) else layer
        check_layer(name, layer)
        if problem := size_problem(name, layer, image_size, reason):
            raise FusionBenchError(problem) from error
        if source is None:
            raise FusionBenchError(f"timm cannot extract feature maps from {name!r}: {reason}") from error
        raise WeightsError(f"cannot load the weights of {name!r}: {reason}") from error
    for (
        module
    ) in net.modules():  # timm keeps the record, and every copy of the model would copy the weights in it
        getattr(module, "pretrained_cfg", {}).pop("state_dict", None)
    return net


def network_from_checkpoint(name: str, layer: int, image_size: tuple[int, int], path: Path) -> nn.Module:
    """Build a model from a timm checkpoint and check that the file sets every parameter.

    When timm removes a classifier, it ignores parameters that the file does not contain. The model is therefore built
    twice, from different random states: parameters that differ between the two were not loaded.

    Raises:
        WeightsError: the file cannot be read, or does not set every parameter.
    """
    source, nets = timm_source(name, path), []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            nets.append(create_network(name, layer, image_size, source))
    second = nets[1].state_dict()
    missing = [key for key, value in nets[0].state_dict().items() if not torch.equal(value, second[key])]
    if missing:
        raise WeightsError(
            f"{path} is not a checkpoint of {name!r}: {len(missing)} of its weights are missing, such as {missing[0]}"
        )
    return nets[0]


def tagged_name(name: str) -> str:
    """Return timm's name of a model with the tag that timm takes where a name has none; it sets mean and scale.

    A name with a tag that this version of timm does not know is returned as it is.
    """
    try:
        config = get_pretrained_cfg(name)
    except RuntimeError:
        return name
    return name if config is None or not config.tag else f"{config.architecture}.{config.tag}"


def check_name(name: str) -> None:
    """Raise an error that names the nearest model or tag if timm has none of this name.

    Raises:
        UnknownNameError: timm has no such model, or no weights of this tag.
    """
    arch, _, tag = name.partition(".")
    if not timm.is_model(arch):
        raise UnknownNameError(f"unknown timm backbone {name!r}{did_you_mean(arch, timm.list_models())}")
    tagged = timm.list_pretrained(f"{arch}.*")
    if tag and name not in tagged:
        raise UnknownNameError(f"timm has no weights {tag!r} of {arch!r}{did_you_mean(name, tagged)}")


def map_indices(name: str, layer: int, maps: int) -> tuple[int, ...]:
    """Return the indices of a layer's map and of the ``maps - 1`` maps before it, as far as there are."""
    check_layer(name, layer)
    last = layer % len(_layers(name))
    return tuple(range(max(0, last - maps + 1), last + 1))


def _layers(name: str) -> list[dict[str, Any]]:
    """Return timm's descriptions of a model's feature maps, from the finest."""
    with torch.device("meta"):
        info: list[dict[str, Any]] = timm.create_model(name).feature_info
    return info


def check_layer(name: str, layer: int) -> None:
    """Raise an error that lists the layers if ``layer`` is not one of them.

    Raises:
        FusionBenchError: the model has no such layer.
    """
    info = _layers(name)
    if not -len(info) <= layer < len(info):
        strides = ", ".join(str(entry["reduction"]) for entry in info)
        raise FusionBenchError(
            f"the backbone {name!r} has no layer {layer}; its {len(info)} layers, counted from 0, have the strides "
            f"{strides}"
        )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message; some of timm's assertions have no message."""
    return str(error).strip().partition("\n")[0] or "timm rejects this combination"
