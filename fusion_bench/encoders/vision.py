"""Backbones: one feature map of any timm model, frozen or trained."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from torch import Tensor, nn

from fusion_bench.encoders.checkpoint import read_weights, timm_source
from fusion_bench.encoders.download import find_weights
from fusion_bench.encoders.input_sizes import size_problem
from fusion_bench.encoders.packages import package_of, rename_weights
from fusion_bench.encoders.pretext_file import load_pretext
from fusion_bench.encoders.timm_models import (
    check_name,
    create_network,
    first_line,
    map_indices,
    network_from_checkpoint,
)
from fusion_bench.errors import FusionBenchError, WeightsError

Weights = Literal["imagenet", "package", "random", "file", "pretext"]


class Backbone(nn.Module):
    """One feature map of a timm model.

    Attributes:
        name: timm's name of the model.
        layer: index of the map among the model's feature maps, as requested.
        image_size: height and width of the input images in pixels.
        channels: channels of the map.
        widths: channels of every map that `maps` returns, the last of which is the map of ``layer``.
        map_size: height and width of the map.
        stride: pixels between neighbouring positions of the map, as timm states it.
        mean: mean per channel that is subtracted from images in [0, 1].
        std: standard deviation per channel by which they are divided.
        frozen: True if the parameters are not trained and the model stays in evaluation mode.

    Raises:
        FusionBenchError: the model does not accept images of this size, or the layer is not a map.
    """

    def __init__(
        self, net: nn.Module, *, name: str, layer: int, image_size: tuple[int, int], frozen: bool = False
    ) -> None:
        super().__init__()
        self.net = net
        self.name, self.layer, self.image_size, self.frozen = name, layer, image_size, frozen
        timm_model: Any = net  # timm stores its timm_model about a model as attributes of the module
        self.mean: tuple[float, ...] = tuple(timm_model.pretrained_cfg["mean"])
        self.std: tuple[float, ...] = tuple(timm_model.pretrained_cfg["std"])
        self.widths: tuple[int, ...] = tuple(timm_model.feature_info.channels())
        self.channels = self.widths[-1]
        self.stride: int = timm_model.feature_info.reduction()[-1]
        self._channels_last = str(getattr(net, "output_fmt", "NCHW")).endswith("NHWC")
        self.requires_grad_(not frozen)
        self.train()
        self.map_size = self._probe()

    def forward(self, images: Tensor) -> Tensor:
        """Return the map ``[B, channels, h, w]`` of normalised images ``[B, 3, H, W]``."""
        return self.maps(images)[-1]

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps ``[B, C, h, w]`` of normalised images ``[B, 3, H, W]``, the map of the layer last."""
        found: list[Tensor] = self.net(images)
        return [features.permute(0, 3, 1, 2) if self._channels_last else features for features in found]

    def train(self, mode: bool = True) -> Backbone:
        """Switch to training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode and not self.frozen)
        return self

    def _probe(self) -> tuple[int, int]:
        """Return height and width of the map, measured on one black image."""
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                features = self(torch.zeros(1, 3, *self.image_size))
        except (AssertionError, RuntimeError, ArithmeticError, ValueError) as error:
            reason = first_line(error)
            problem = size_problem(self.name, self.layer, self.image_size, reason)
            raise FusionBenchError(
                problem or f"the backbone {self.name!r} fails on an image: {reason}"
            ) from error
        super().train(training)
        if features.dim() != 4 or features.shape[1] != self.channels:
            raise FusionBenchError(
                f"the backbone {self.name!r} returns {list(features.shape)} at layer {self.layer}, not a map of "
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
    maps: int = 1,
) -> Backbone:
    """Build a timm model up to one layer and load its weights.

    Args:
        name: timm's name of the model (``resnet18``, ``vit_tiny_patch16_224`` ...).
        image_size: height and width of the images in pixels.
        layer: index among the model's feature maps, from the finest; negative indices count from the coarsest.
        weights: ``random`` draws weights from torch's generator; ``imagenet`` uses timm's weights, downloaded once;
            ``package`` reads ImageNet weights that an installed package holds; ``file`` reads a timm checkpoint;
            ``pretext`` reads a file of `save_pretext`, which may also hold later layers.
        weights_file: the file for ``file`` and ``pretext`` (``.safetensors``, ``.pth``).
        frozen: do not train the backbone.
        maps: number of maps that `Backbone.maps` returns: the layer's and those before it, as far as there are.

    Raises:
        UnknownNameError: timm has no such model; the message gives the nearest name.
        WeightsError: the weights are not available, or belong to another model.
        FusionBenchError: the layer does not exist, or the model does not accept the image size.
    """
    check_name(name)
    if weights == "imagenet":
        source = find_weights(name)
        net = create_network(
            name, layer, image_size, timm_source(name, Path(source["file"])) if source else source
        )
    elif weights == "file":
        net = network_from_checkpoint(name, layer, image_size, _require_file(weights_file, weights))
    else:
        net = create_network(name, layer if maps == 1 else map_indices(name, layer, maps), image_size)
    backbone = Backbone(net, name=name, layer=layer, image_size=image_size, frozen=frozen)
    if weights == "package":
        _load_package(backbone)
    if weights == "pretext":
        load_pretext(backbone.net, _require_file(weights_file, weights), name, layer, image_size)
    return backbone


@functools.cache
def backbone_problem(name: str, layer: int, image_size: tuple[int, int]) -> str | None:
    """Return why a timm model has no such map of images of this size; None if it has one.

    The model is built on torch's ``meta`` device, without memory. None is also returned for a model that cannot be
    built there; `build_backbone` then finds the problem.

    Args:
        name: timm's name of the model; it exists.
        layer: index among the model's feature maps.
        image_size: height and width of the images in pixels.
    """
    try:
        with torch.device("meta"):
            Backbone(create_network(name, layer, image_size), name=name, layer=layer, image_size=image_size)
    except FusionBenchError as error:
        return str(error)
    except (NotImplementedError, RuntimeError):  # an operation that the meta device lacks
        return None
    return None


def weights_digest(module: nn.Module) -> str:
    """Return the SHA-256 over the names, types, shapes and values of the module's state."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class ColourScale:
    """What is subtracted from each colour channel of images in 0 to 255, and what it is divided by afterwards."""

    shift: Tensor
    scale: Tensor

    @classmethod
    def of(cls, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> ColourScale:
        """Return the scale for the mean and standard deviation of images in [0, 1]; a GPU is waited for."""
        return cls(torch.tensor(mean, device=device) * 255, torch.tensor(std, device=device) * 255)

    def apply(self, images: Tensor) -> Tensor:
        """Return ``[B, 3, H, W]`` float32 for uint8 images ``[B, H, W, 3]``."""
        # Along whole rows of pixels, because an operation that repeats only three values is four times slower.
        width = images.shape[2]
        rows = images.flatten(2).to(torch.float32, copy=True)  # [B, H, W * 3]
        rows.sub_(self.shift.repeat(width)).div_(self.scale.repeat(width))
        return rows.view(images.shape).permute(0, 3, 1, 2)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return ``(image / 255 - mean) / std`` as ``[B, 3, H, W]`` float32 for uint8 images ``[B, H, W, 3]``."""
    return ColourScale.of(mean, std, images.device).apply(images)


def _require_file(path: Path | None, weights: Weights) -> Path:
    if path is None:
        raise WeightsError(f"the backbone weights {weights!r} need a file; pass it as weights_file")
    if not path.is_file():
        raise WeightsError(f"the file of backbone weights {path} does not exist")
    return path


def _load_package(backbone: Backbone) -> None:
    """Load the weights that an installed package holds, and the normalisation that they were trained with."""
    package = package_of(backbone.name)
    with torch.device("meta"):
        whole = timm.create_model(backbone.name.partition(".")[0]).state_dict()
    renamed = rename_weights(package, read_weights(package.path()), whole)
    # A network of feature maps is timm's model under the same names, without the classifier.
    missing = backbone.net.state_dict().keys() - renamed.keys()
    if missing:
        raise WeightsError(f"timm's feature network of {backbone.name!r} has other weights: {min(missing)}")
    backbone.net.load_state_dict({name: renamed[name] for name in backbone.net.state_dict()})
    backbone.mean, backbone.std = package.mean, package.std
