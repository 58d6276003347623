"""Any timm backbone as one map: the layer that the study chose, frozen or trained."""

from __future__ import annotations

import hashlib
import pickle  # for its error alone: nothing is unpickled here
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import timm
import torch
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from fusion_bench.encoders.download import weights_at_hand
from fusion_bench.errors import FusionBenchError, WeightsError
from fusion_bench.registry import UnknownNameError, did_you_mean
from fusion_bench.storage import replacing

Weights = Literal["imagenet", "random", "file", "pretext"]

# What timm lets through when a download fails, or a file is cut off or is no checkpoint of this model.
_UNREADABLE = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    AttributeError,
    EOFError,
    pickle.UnpicklingError,
    safetensors.SafetensorError,
)


class Backbone(nn.Module):
    """One feature map of a timm model.

    Attributes:
        name: timm's name.
        layer: index of the map among the model's features, as it was asked for.
        image_size: height and width of its images.
        channels: channels of the map.
        map_size: its height and width.
        stride: pixels per cell, by timm's account.
        mean: per channel, what images in [0, 1] are centred by.
        std: per channel, what they are divided by.
        frozen: its parameters are not trained and it stays in evaluation mode.
    """

    def __init__(
        self, net: nn.Module, *, name: str, layer: int, image_size: tuple[int, int], frozen: bool = False
    ) -> None:
        super().__init__()
        self.net = net
        self.name, self.layer, self.image_size, self.frozen = name, layer, image_size, frozen
        facts: Any = net  # timm hangs what it knows of a model on the module itself
        self.mean: tuple[float, ...] = tuple(facts.pretrained_cfg["mean"])
        self.std: tuple[float, ...] = tuple(facts.pretrained_cfg["std"])
        self.channels: int = facts.feature_info.channels()[-1]
        self.stride: int = facts.feature_info.reduction()[-1]
        self._channels_last = str(getattr(net, "output_fmt", "NCHW")).endswith("NHWC")
        self.requires_grad_(not frozen)
        self.train()
        self.map_size = self._probe()

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images ``[B, 3, H, W]`` -> map ``[B, channels, h, w]``."""
        features: Tensor = self.net(images)[-1]
        return features.permute(0, 3, 1, 2) if self._channels_last else features

    def train(self, mode: bool = True) -> Backbone:
        """Switch to training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode and not self.frozen)
        return self

    def _probe(self) -> tuple[int, int]:
        """Height and width of the map, seen on one black image."""
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                features = self(torch.zeros(1, 3, *self.image_size))
        except (AssertionError, RuntimeError) as error:
            height, width = self.image_size
            raise FusionBenchError(
                f"images of {height}x{width} do not suit the backbone {self.name!r}: {_said(error)}"
            ) from error
        super().train(training)
        if features.dim() != 4 or features.shape[1] != self.channels:
            raise FusionBenchError(
                f"the backbone {self.name!r} gives {list(features.shape)} at layer {self.layer}, not a map of "
                f"{self.channels} channels; choose another layer or backbone"
            )
        return features.shape[2], features.shape[3]


def build_backbone(
    name: str,
    *,
    image_size: tuple[int, int],
    layer: int = -1,
    weights: Weights = "random",
    weights_file: Path | None = None,
    frozen: bool = False,
) -> Backbone:
    """Build a timm model cut at one layer, its weights loaded.

    Args:
        name: timm's name (``resnet18``, ``vit_tiny_patch16_224`` ...).
        image_size: height and width of the images.
        layer: index among the model's feature maps, from the finest; negative counts from the coarsest.
        weights: ``random`` draws them from torch's generator; ``imagenet`` are timm's, downloaded once;
            ``file`` is a timm checkpoint; ``pretext`` what `save_backbone` wrote.
        weights_file: the file for ``file`` and ``pretext`` (``.safetensors``, ``.pth``).
        frozen: keep it as it is.

    Raises:
        UnknownNameError: timm has no such model; the message holds the nearest name.
        WeightsError: the weights cannot be had, or are not this model's.
        FusionBenchError: the layer does not exist or the image size does not suit the model.
    """
    _check_name(name)
    if weights == "imagenet":
        net = _create(name, layer, image_size, weights_at_hand(name))
    elif weights == "file":
        net = _from_checkpoint(name, layer, image_size, _given(weights_file, weights))
    else:
        net = _create(name, layer, image_size)
    backbone = Backbone(net, name=name, layer=layer, image_size=image_size, frozen=frozen)
    if weights == "pretext":
        _load_saved(backbone, _given(weights_file, weights))
    return backbone


def save_backbone(backbone: Backbone, path: Path) -> None:
    """Write a backbone's weights for ``weights: pretext``, whole or not at all."""
    state = {name: value.detach().cpu().contiguous() for name, value in backbone.net.state_dict().items()}
    with replacing(path) as part:
        safetensors.torch.save_file(state, part, metadata={"backbone": backbone.name})


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of everything in the module's state."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 images ``[B, H, W, 3]`` -> ``[B, 3, H, W]`` float32, ``(image / 255 - mean) / std``."""
    scale = torch.tensor(std, device=images.device) * 255
    shift = torch.tensor(mean, device=images.device) * 255
    return ((images.float() - shift) / scale).permute(0, 3, 1, 2)


def _create(
    name: str, layer: int, image_size: tuple[int, int], source: Mapping[str, Any] | None = None
) -> nn.Module:
    """A ``features_only`` model; ``source`` overlays timm's record of where its weights are."""
    config = get_pretrained_cfg(name)
    fixed = {"img_size": image_size} if config and config.fixed_input_size else {}
    overlay = {} if source is None else {"pretrained": True, "pretrained_cfg_overlay": dict(source)}
    try:
        net: nn.Module = timm.create_model(name, features_only=True, out_indices=(layer,), **fixed, **overlay)
    except (AssertionError, IndexError) as error:
        _check_layer(name, layer)
        raise FusionBenchError(
            f"timm cannot build {name!r} for images of {image_size[0]}x{image_size[1]}: {_said(error)}"
        ) from error
    except _UNREADABLE as error:
        if source is None:
            raise FusionBenchError(f"timm cannot cut {name!r} into feature maps: {_said(error)}") from error
        raise WeightsError(f"cannot load the weights of {name!r}: {_said(error)}") from error
    return net


def _check_name(name: str) -> None:
    arch, _, tag = name.partition(".")
    if not timm.is_model(arch):
        raise UnknownNameError(f"unknown timm backbone {name!r}{did_you_mean(arch, timm.list_models())}")
    tagged = timm.list_pretrained(f"{arch}.*")
    if tag and name not in tagged:
        raise UnknownNameError(f"timm has no weights {tag!r} of {arch!r}{did_you_mean(name, tagged)}")


def _said(error: Exception) -> str:
    """The first line of what an error says; some of timm's assertions say nothing."""
    return str(error).strip().partition("\n")[0] or "it refuses this combination"


def _check_layer(name: str, layer: int) -> None:
    """Raise the sentence that lists the layers, if ``layer`` is not one of them."""
    with torch.device("meta"):
        info = timm.create_model(name).feature_info
    if not -len(info) <= layer < len(info):
        strides = ", ".join(str(entry["reduction"]) for entry in info)
        raise FusionBenchError(
            f"backbone {name!r} has no layer {layer}; it has {len(info)}, counted from 0, at strides {strides}"
        )


def _given(path: Path | None, weights: Weights) -> Path:
    if path is None:
        raise WeightsError(f"backbone weights {weights!r} need a file, and none was given")
    if not path.is_file():
        raise WeightsError(f"the backbone weights {path} do not exist")
    return path


def _from_checkpoint(name: str, layer: int, image_size: tuple[int, int], path: Path) -> nn.Module:
    """Build with a timm checkpoint, and make sure that it filled every parameter.

    timm skips what a file lacks when a classifier is cut off. What differs between two builds from
    different random states was drawn, not loaded.
    """
    nets = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            nets.append(_create(name, layer, image_size, {"file": str(path)}))
    second = nets[1].state_dict()
    drawn = [key for key, value in nets[0].state_dict().items() if not torch.equal(value, second[key])]
    if drawn:
        raise WeightsError(
            f"{path} is not a checkpoint of {name!r}: it lacks {len(drawn)} of its weights, such as {drawn[0]}"
        )
    return nets[0]


def _load_saved(backbone: Backbone, path: Path) -> None:
    try:
        backbone.net.load_state_dict(safetensors.torch.load_file(path))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"{path} does not hold the weights of {backbone.name!r} cut at layer {backbone.layer}"
        ) from error
