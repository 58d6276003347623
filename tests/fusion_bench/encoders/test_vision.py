"""Backbones of every layout give one map; weights are checked when they are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from fusion_bench.encoders import download
from fusion_bench.encoders.pretext_file import save_pretext
from fusion_bench.encoders.vision import (
    Backbone,
    build_backbone,
    normalise,
    weights_digest,
)
from fusion_bench.errors import FusionBenchError, WeightsError
from fusion_bench.registry import UnknownNameError

SIZE = (32, 64)


@pytest.mark.parametrize(
    ("name", "layer", "stride"),
    [
        ("test_resnet", 1, 4),
        ("test_resnet", -1, 32),
        ("test_efficientnet", 2, 8),  # a feature network of its own
        ("test_vit", -2, 16),  # patches, fixed image size
        ("test_mambaout", 1, 8),  # channels last
        ("test_maxvit", 2, 8),  # windows that depend on the image size
    ],
)
def test_any_family_gives_a_map(name: str, layer: int, stride: int) -> None:
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    backbone = build_backbone(name, layer=layer, image_size=SIZE)
    expected = timm.create_model(name).feature_info[layer]
    assert backbone.channels == expected["num_chs"]
    assert backbone.stride == expected["reduction"] == stride
    assert backbone.map_size == (SIZE[0] // stride, SIZE[1] // stride)
    assert backbone(torch.randn(2, 3, *SIZE)).shape == (2, backbone.channels, *backbone.map_size)


def test_the_map_is_that_layer_of_the_full_model() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("test_vit", layer=2, image_size=SIZE).eval()
    torch.manual_seed(0)
    full = timm.create_model("test_vit", img_size=SIZE).eval()
    images = torch.randn(2, 3, *SIZE)
    expected = full.forward_intermediates(images, indices=[2], intermediates_only=True)[0]
    torch.testing.assert_close(backbone(images), expected)


def test_a_frozen_backbone_stays_in_evaluation_mode_without_gradients() -> None:
    frozen = build_backbone("test_resnet", image_size=SIZE, frozen=True)
    nn.Sequential(frozen).train()
    assert not any(module.training for module in frozen.modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    before = weights_digest(frozen)
    frozen(torch.randn(2, 3, *SIZE))
    assert weights_digest(frozen) == before, "batch norm statistics stand still"


def test_a_trained_backbone_trains() -> None:
    backbone = build_backbone("test_resnet", image_size=SIZE)
    assert backbone.training
    backbone(torch.randn(2, 3, *SIZE)).sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_normalise_centres_by_the_models_own_statistics() -> None:
    backbone = build_backbone("test_vit", image_size=SIZE)
    assert (backbone.mean, backbone.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    images = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    out = normalise(images, mean, std)
    assert out.shape == (2, 3, 4, 5)
    for channel in range(3):
        expected = (images[..., channel].double() / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(out[:, channel].double(), expected, rtol=0, atol=1e-6)


def test_normalise_keeps_the_images_and_reads_any_part_of_them() -> None:
    images = torch.randint(0, 256, (3, 6, 8, 3), dtype=torch.uint8)
    kept, statistics = images.clone(), ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    whole = normalise(images, *statistics)
    assert torch.equal(normalise(images[1:, ::2, 3:], *statistics), whole[1:, :, ::2, 3:])
    assert torch.equal(images, kept)
    floats = images.float()
    assert torch.equal(normalise(floats, *statistics), whole)
    assert torch.equal(floats, kept.float())


def test_random_weights_follow_torchs_generator() -> None:
    digests = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        digests.append(weights_digest(build_backbone("test_resnet", image_size=SIZE)))
    assert digests[0] == digests[1] != digests[2]


def test_a_digest_sees_one_changed_number() -> None:
    module = nn.Linear(3, 2)
    before = weights_digest(module)
    with torch.no_grad():
        module.bias[1] += 1e-6
    assert weights_digest(module) != before


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_timm_checkpoint_is_loaded(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(3)
    source = timm.create_model("test_resnet").eval()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": source.state_dict()}, path)
    else:
        safetensors.torch.save_file(source.state_dict(), path)
    backbone = build_backbone(
        "test_resnet", layer=2, image_size=SIZE, weights="file", weights_file=path
    ).eval()
    images = torch.randn(2, 3, *SIZE)
    expected = source.forward_intermediates(images, indices=[2], intermediates_only=True)[0]
    torch.testing.assert_close(backbone(images), expected)


def test_a_checkpoint_of_another_model_is_refused_not_half_loaded(tmp_path: Path) -> None:
    """timm itself would keep random numbers for every parameter that such a file does not contain."""
    path = tmp_path / "other.safetensors"
    state = timm.create_model("test_resnet").state_dict()
    safetensors.torch.save_file({key: value for key, value in state.items() if "layer3" not in key}, path)
    with pytest.raises(WeightsError, match=r"not a checkpoint of 'test_resnet': .* missing, such as layer3"):
        build_backbone("test_resnet", image_size=SIZE, weights="file", weights_file=path)
    safetensors.torch.save_file(timm.create_model("test_vit").state_dict(), path)
    with pytest.raises(WeightsError):
        build_backbone("test_resnet", image_size=SIZE, weights="file", weights_file=path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    state = timm.create_model("test_resnet").state_dict()
    if suffix == ".pth":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot load the weights of 'test_resnet'"):
        build_backbone("test_resnet", image_size=SIZE, weights="file", weights_file=path)


def test_a_file_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    class Surprise:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pytest.fail, ("the file was unpickled",)

    path = tmp_path / "weights.pth"
    torch.save({"state_dict": Surprise()}, path)
    with pytest.raises(WeightsError, match="cannot load the weights of 'test_resnet'"):
        build_backbone("test_resnet", image_size=SIZE, weights="file", weights_file=path)


def saved(
    path: Path, name: str, layer: int, heads: Mapping[str, Tensor] | None = None, maps: int = 1
) -> Backbone:
    """A backbone with random weights, which stand in the file too."""
    torch.manual_seed(4)
    backbone = build_backbone(name, layer=layer, image_size=SIZE, maps=maps)
    save_pretext(backbone.net, path, name, heads or {})
    torch.manual_seed(5)
    return backbone


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pretext.safetensors"


def load(file: Path, name: str, layer: int, **settings: Any) -> Backbone:
    return build_backbone(
        name, layer=layer, image_size=SIZE, weights="pretext", weights_file=file, **settings
    )


def test_pretext_weights_come_back(file: Path) -> None:
    learned = saved(file, "test_convnext", 1)
    loaded = load(file, "test_convnext", 1, frozen=True)
    assert weights_digest(loaded) == weights_digest(learned)
    with pytest.raises(
        WeightsError, match="does not contain the weights of 'test_convnext' up to layer 2: it l"
    ):
        load(file, "test_convnext", 2)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_pretext_weights_of_a_later_layer_hold_those_of_an_earlier_one(file: Path, name: str) -> None:
    learned = saved(file, name, 2, {"head.weight": torch.ones(3)}, maps=2).eval()
    images = torch.randn(2, 3, *SIZE)
    for layer, expected in zip((1, 2), learned.maps(images), strict=True):
        loaded = load(file, name, layer).eval()
        torch.testing.assert_close(loaded(images), expected)
        assert loaded.channels == expected.shape[1]
    for layer in (-1, 3):
        with pytest.raises(WeightsError, match=f"of '{name}' up to layer {layer}: it lacks "):
            load(file, name, layer)


def test_pretext_weights_with_the_tag_that_timm_takes_are_those_without_one(file: Path) -> None:
    learned = saved(file, "test_resnet.r160_in1k", 1)
    assert weights_digest(load(file, "test_resnet", 1)) == weights_digest(learned)
    saved(file, "resnet18", 0)
    with pytest.raises(
        WeightsError, match=r"holds the weights of 'resnet18', but those of 'resnet18.tv_in1k' are"
    ):
        load(file, "resnet18.tv_in1k", 0)


def test_pretext_weights_of_another_backbone_are_refused(file: Path) -> None:
    """All weights of resnet18's first layers stand in resnet34's, under the same names and in the same shapes."""
    saved(file, "resnet34", 2)
    small = build_backbone("resnet18", layer=1, image_size=SIZE).net.state_dict()
    held = safetensors.torch.load_file(file)
    assert all(held[name].shape == value.shape for name, value in small.items())
    with pytest.raises(
        WeightsError, match=r"holds the weights of 'resnet34', but those of 'resnet18' are needed; rem"
    ):
        load(file, "resnet18", 1)
    # A tag that this version of timm does not know, as in a file of a later one.
    safetensors.torch.save_file(held, file, metadata={"backbone": "resnet18.later_in1k"})
    with pytest.raises(WeightsError, match=r"holds the weights of 'resnet18\.later_in1k', but those of"):
        load(file, "resnet18", 1)
    # The same under a false name: what only resnet34 has tells it.
    safetensors.torch.save_file(held, file, metadata={"backbone": "resnet18"})
    with pytest.raises(WeightsError, match=r"it holds layer1\.2\.bn1\.bias, which the model has not"):
        load(file, "resnet18", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held | {"more": torch.ones(1)}, "it holds more, which the model has not"),
        (
            lambda held: held | {"bn1.bias": torch.ones(1)},
            "holds weights of other shapes than 'test_resnet' has",
        ),
        (lambda held: {name: held[name] for name in held if name != "bn1.bias"}, "it lacks bn1.bias"),
    ],
)
def test_pretext_weights_are_read_strictly(
    file: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    saved(file, "test_resnet", 1)
    held = safetensors.torch.load_file(file)
    safetensors.torch.save_file(change(held), file, metadata={"backbone": "test_resnet"})
    with pytest.raises(WeightsError, match=message):
        load(file, "test_resnet", 1)
    safetensors.torch.save_file(held, file)
    with pytest.raises(WeightsError, match="names no backbone, but those of 'test_resnet' are needed"):
        load(file, "test_resnet", 1)
    file.write_bytes(file.read_bytes()[:99])
    with pytest.raises(WeightsError, match="is damaged or not a safetensors file"):
        load(file, "test_resnet", 1)


@pytest.mark.parametrize(
    ("name", "layer", "maps", "strides"),
    [
        ("test_resnet", 3, 2, (8, 16)),
        ("test_resnet", -1, 3, (8, 16, 32)),
        ("test_resnet", 0, 2, (2,)),
        ("test_resnet", -5, 2, (2,)),
        ("test_vit", -1, 2, (16, 16)),
    ],
)
def test_a_backbone_returns_the_maps_before_its_layer_too(
    name: str, layer: int, maps: int, strides: tuple[int, ...]
) -> None:
    backbone = build_backbone(name, layer=layer, image_size=(64, 64), maps=maps).eval()
    images = torch.randn(1, 3, 64, 64)
    found = backbone.maps(images)
    assert [64 // features.shape[2] for features in found] == list(strides)
    assert tuple(features.shape[1] for features in found) == backbone.widths
    assert torch.equal(found[-1], backbone(images))
    with pytest.raises(FusionBenchError, match="no layer 9"):
        build_backbone("test_resnet", layer=9, image_size=(64, 64), maps=maps)


@pytest.mark.parametrize("weights", ["file", "pretext"])
def test_a_missing_file_is_named(tmp_path: Path, weights: str) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pth does not exist"):
        build_backbone(
            "test_resnet",
            image_size=SIZE,
            weights=weights,  # type: ignore[arg-type]
            weights_file=tmp_path / "gone.pth",
        )
    with pytest.raises(WeightsError, match="need a file; pass it as weights_file"):
        build_backbone("test_resnet", image_size=SIZE, weights=weights)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "layer", "size", "message"),
    [
        ("resnet81", -1, SIZE, "unknown timm backbone 'resnet81' .did you mean 'resnet18'"),
        ("resnet18.a1_in2k", -1, SIZE, "no weights 'a1_in2k' of 'resnet18' .did you mean 'resnet18.a"),
        (
            "test_resnet",
            5,
            SIZE,
            "has no layer 5; its 5 layers, counted from 0, have the strides 2, 4, 8, 16, 32",
        ),
        ("test_vit", -9, SIZE, "has no layer -9; its 6 layers"),
        ("test_vit", -1, (30, 50), "the backbone 'test_vit' does not accept images of 30x50"),
    ],
)
def test_what_timm_does_not_have_is_an_error_with_a_reason(
    name: str, layer: int, size: tuple[int, int], message: str
) -> None:
    with pytest.raises(FusionBenchError, match=message) as raised:
        build_backbone(name, layer=layer, image_size=size)
    assert ("unknown" in message or "no weights" in message) == isinstance(raised.value, UnknownNameError)


@pytest.mark.parametrize(
    ("name", "advice"),
    [("test_vit", "file:PATH, pretext or random"), ("tf_efficientnet_lite0", "package, file:PATH, pretext")],
)
def test_imagenet_without_a_network_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, advice: str
) -> None:
    monkeypatch.setattr(download.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(download, "is_reachable", lambda url: False)
    with pytest.raises(WeightsError, match=f"cannot be reached; write weights: {advice}"):
        build_backbone(name, image_size=SIZE, weights="imagenet")


def test_imagenet_weights_that_do_not_exist_are_one_sentence() -> None:
    trained = {name.partition(".")[0] for name in timm.list_models(pretrained=True)}
    untrained = next(name for name in timm.list_models() if name not in trained)
    with pytest.raises(WeightsError, match=f"timm has no pretrained weights for {untrained!r}"):
        build_backbone(untrained, image_size=SIZE, weights="imagenet")


def test_imagenet_weights_of_an_earlier_download_need_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    source = timm.create_model("test_vit")
    safetensors.torch.save_file(source.state_dict(), path)
    monkeypatch.setattr(download.huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(path))
    monkeypatch.setattr(download, "is_reachable", lambda url: pytest.fail("no network is needed"))
    backbone = build_backbone("test_vit", image_size=(160, 160), weights="imagenet")
    assert torch.equal(backbone.state_dict()["net.model.cls_token"], source.cls_token)


def test_a_backbone_counts_on_the_meta_device() -> None:
    backbone: Backbone = build_backbone("test_mambaout", layer=1, image_size=SIZE).to("meta")
    assert backbone(torch.empty(1, 3, *SIZE, device="meta")).shape == (1, backbone.channels, 4, 8)
