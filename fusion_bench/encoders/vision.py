"""Backbones: one feature map of any timm model, frozen or trained."""

from __future__ import annotations

import functools
import hashlib
import pickle  # only for its exception: nothing is unpickled here
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from fusion_bench.encoders.checkpoint import read_weights
from fusion_bench.encoders.download import find_weights
from fusion_bench.encoders.input_sizes import feature_model, size_problem
from fusion_bench.encoders.packages import package_of, rename_weights
from fusion_bench.errors import FusionBenchError, WeightsError
from fusion_bench.registry import UnknownNameError, did_you_mean
from fusion_bench.storage import replacing

Weights = Literal["imagenet", "package", "random", "file", "pretext"]

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
            reason = _first_line(error)
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
            ``pretext`` reads a file of `save_backbone`, which may also hold later layers.
        weights_file: the file for ``file`` and ``pretext`` (``.safetensors``, ``.pth``).
        frozen: do not train the backbone.
        maps: number of maps that `Backbone.maps` returns: the layer's and those before it, as far as there are.

    Raises:
        UnknownNameError: timm has no such model; the message gives the nearest name.
        WeightsError: the weights are not available, or belong to another model.
        FusionBenchError: the layer does not exist, or the model does not accept the image size.
    """
    _check_name(name)
    if weights == "imagenet":
        source = find_weights(name)
        net = _create(name, layer, image_size, _source(name, Path(source["file"])) if source else source)
    elif weights == "file":
        net = _from_checkpoint(name, layer, image_size, _require_file(weights_file, weights))
    else:
        net = _create(name, layer if maps == 1 else _indices(name, layer, maps), image_size)
    backbone = Backbone(net, name=name, layer=layer, image_size=image_size, frozen=frozen)
    if weights == "package":
        _load_package(backbone)
    if weights == "pretext":
        _load_saved(backbone, _require_file(weights_file, weights))
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
            Backbone(_create(name, layer, image_size), name=name, layer=layer, image_size=image_size)
    except FusionBenchError as error:
        return str(error)
    except (NotImplementedError, RuntimeError):  # an operation that the meta device lacks
        return None
    return None


def save_backbone(backbone: Backbone, path: Path, others: Mapping[str, Tensor] | None = None) -> None:
    """Write a backbone's weights to a file for ``weights: pretext``; an interruption leaves no partial file.

    Args:
        backbone: the backbone.
        path: the file.
        others: further tensors to write; `build_backbone` does not read them.
    """
    state = {**backbone.net.state_dict(), **(others or {})}
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with replacing(path) as part:
        safetensors.torch.save_file(state, part, metadata={"backbone": backbone.name})


def weights_digest(module: nn.Module) -> str:
    """Return the SHA-256 over the names, types, shapes and values of the module's state."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return ``(image / 255 - mean) / std`` as ``[B, 3, H, W]`` float32 for uint8 images ``[B, H, W, 3]``."""
    scale = torch.tensor(std, device=images.device) * 255
    shift = torch.tensor(mean, device=images.device) * 255
    return ((images.float() - shift) / scale).permute(0, 3, 1, 2)


def _indices(name: str, layer: int, maps: int) -> tuple[int, ...]:
    """Return the indices of a layer's map and of the ``maps - 1`` maps before it, as far as there are."""
    _check_layer(name, layer)
    last = layer % len(_layers(name))
    return tuple(range(max(0, last - maps + 1), last + 1))


def _create(
    name: str,
    layer: int | tuple[int, ...],
    image_size: tuple[int, int],
    source: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Create a ``features_only`` model; ``source`` overlays timm's record of the place of its weights."""
    overlay: dict[str, Any] = {}
    if source is not None:
        # timm removes classifiers from the dictionary that it is given.
        copied = {key: dict(value) if isinstance(value, dict) else value for key, value in source.items()}
        overlay = {"pretrained": True, "pretrained_cfg_overlay": copied}
    try:
        net = feature_model(name, layer, image_size, **overlay)
    except (AssertionError, IndexError, ArithmeticError, *_LOADING_ERRORS) as error:
        reason = _first_line(error)
        layer = layer[-1] if isinstance(layer, tuple) else layer
        _check_layer(name, layer)
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


def _source(name: str, path: Path) -> Mapping[str, Any]:
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


def _check_name(name: str) -> None:
    arch, _, tag = name.partition(".")
    if not timm.is_model(arch):
        raise UnknownNameError(f"unknown timm backbone {name!r}{did_you_mean(arch, timm.list_models())}")
    tagged = timm.list_pretrained(f"{arch}.*")
    if tag and name not in tagged:
        raise UnknownNameError(f"timm has no weights {tag!r} of {arch!r}{did_you_mean(name, tagged)}")


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message; some of timm's assertions have no message."""
    return str(error).strip().partition("\n")[0] or "timm rejects this combination"


def _layers(name: str) -> list[dict[str, Any]]:
    """Return timm's descriptions of a model's feature maps, from the finest."""
    with torch.device("meta"):
        info: list[dict[str, Any]] = timm.create_model(name).feature_info
    return info


def _check_layer(name: str, layer: int) -> None:
    """Raise an error that lists the layers if ``layer`` is not one of them."""
    info = _layers(name)
    if not -len(info) <= layer < len(info):
        strides = ", ".join(str(entry["reduction"]) for entry in info)
        raise FusionBenchError(
            f"the backbone {name!r} has no layer {layer}; its {len(info)} layers, counted from 0, have the strides "
            f"{strides}"
        )


def _require_file(path: Path | None, weights: Weights) -> Path:
    if path is None:
        raise WeightsError(f"the backbone weights {weights!r} need a file; pass it as weights_file")
    if not path.is_file():
        raise WeightsError(f"the file of backbone weights {path} does not exist")
    return path


def _from_checkpoint(name: str, layer: int, image_size: tuple[int, int], path: Path) -> nn.Module:
    """Build a model from a timm checkpoint and check that the file sets every parameter.

    When timm removes a classifier, it ignores parameters that the file does not contain. The model is therefore built
    twice, from different random states: parameters that differ between the two were not loaded.
    """
    source, nets = _source(name, path), []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            nets.append(_create(name, layer, image_size, source))
    second = nets[1].state_dict()
    missing = [key for key, value in nets[0].state_dict().items() if not torch.equal(value, second[key])]
    if missing:
        raise WeightsError(
            f"{path} is not a checkpoint of {name!r}: {len(missing)} of its weights are missing, such as {missing[0]}"
        )
    return nets[0]


def _load_saved(backbone: Backbone, path: Path) -> None:
    """Load the weights of a backbone from a file of `save_backbone`; the file may hold further layers."""
    try:
        saved, wanted = safetensors.torch.load_file(path), backbone.net.state_dict()
        backbone.net.load_state_dict({name: value for name, value in saved.items() if name in wanted})
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"{path} does not contain the weights of {backbone.name!r} up to layer {backbone.layer}"
        ) from error


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
