"""The image sizes that a timm model takes, found by trying: models state them in no common form."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import nn

_MULTIPLES = (2, 4, 8, 14, 16, 32, 64, 56, 112, 224)
"""Sides of patches, windows and total strides of published models, and their multiples, in the order of trying."""
_NAMED = 2
"""Number of near sizes that a message names, beside the model's own."""


def feature_model(
    name: str, layer: int | tuple[int, ...], image_size: tuple[int, int], **settings: Any
) -> nn.Module:
    """Return timm's model whose output is the list of one feature map, or of several.

    Args:
        name: timm's name of the model.
        layer: index of the map; a tuple for several.
        image_size: height and width of the images; models with position codes are built for it.
        settings: further arguments of ``timm.create_model``.
    """
    config = get_pretrained_cfg(name)
    fixed = {"img_size": image_size} if config and config.fixed_input_size else {}
    indices = layer if isinstance(layer, tuple) else (layer,)
    net: nn.Module = timm.create_model(name, features_only=True, out_indices=indices, **fixed, **settings)
    return net


def accepts(name: str, layer: int, image_size: tuple[int, int]) -> bool:
    """Return True if a model can be built for images of this size and gives a map of them; computes no numbers."""
    try:
        with torch.device("meta"), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about layers without elements
            net = feature_model(name, layer, image_size).eval()
            features = net(torch.zeros(1, 3, *image_size))[-1]
    except Exception:  # models fail with whatever their first impossible operation raises
        return False
    return bool(features.dim() == 4 and features.numel())


def size_problem(name: str, layer: int, image_size: tuple[int, int], reason: str) -> str:
    """Return a sentence with sizes that a model takes, if it does not take ``image_size``; else an empty text.

    A model that takes no size at all gives an empty text too: then the size is not to blame.
    """
    if accepts(name, layer, image_size):
        return ""
    sizes = [size for size in dict.fromkeys(_candidates(name, image_size)) if accepts(name, layer, size)]
    if not sizes:
        return ""
    near = sorted(sizes[:-1], key=lambda size: abs(size[0] - image_size[0]) + abs(size[1] - image_size[1]))
    named = [f"{height}x{width}" for height, width in dict.fromkeys([*near[:_NAMED], sizes[-1]])]
    return (
        f"the backbone {name!r} does not accept images of {image_size[0]}x{image_size[1]} ({reason.rstrip('.')}); "
        f"it accepts {', '.join(named)} (height x width), for example"
    )


def _candidates(name: str, image_size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield ``image_size`` rounded up and down to each multiple, and the square around it; last the model's own."""
    height, width = image_size
    for multiple in _MULTIPLES:
        up = -(-height // multiple) * multiple, -(-width // multiple) * multiple
        yield up
        yield max(multiple, height // multiple * multiple), max(multiple, width // multiple * multiple)
        yield max(up), max(up)
    config = get_pretrained_cfg(name)
    if config is not None:
        yield config.input_size[1], config.input_size[2]
