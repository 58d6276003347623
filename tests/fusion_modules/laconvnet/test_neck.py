"""The neck against an independent derivation in NumPy, and its size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from fusion_bench.contract import multiply_adds_of
from fusion_modules.laconvnet.neck import PathAggregation, TopDown

Array = npt.NDArray[np.float64]


class ByHand:
    """The neck of YOLOX, computed from its weights by name."""

    def __init__(self, module: nn.Module) -> None:
        self.w: dict[str, Array] = {name: tensor.numpy() for name, tensor in module.state_dict().items()}

    def conv(self, name: str, x: Array, stride: int = 1) -> Array:
        """Return SiLU(BN(conv(x))) with zero padding at the positions 0, stride, 2 stride, ..."""
        kernel = self.w[f"{name}.conv.weight"]
        reach = kernel.shape[2] // 2
        height, width = x.shape[1:]
        padded = np.zeros((x.shape[0], height + 2 * reach, width + 2 * reach))
        padded[:, reach : reach + height, reach : reach + width] = x
        out = np.zeros((kernel.shape[0], -(-height // stride), -(-width // stride)))
        for i, y in enumerate(range(0, height, stride)):
            for j, column in enumerate(range(0, width, stride)):
                window = padded[:, y : y + 2 * reach + 1, column : column + 2 * reach + 1]
                out[:, i, j] = np.einsum("ocyx,cyx->o", kernel, window)
        for channel in range(len(out)):
            mean, var, weight, bias = (
                self.w[f"{name}.norm.{part}"][channel]
                for part in ("running_mean", "running_var", "weight", "bias")
            )
            out[channel] = (out[channel] - mean) / np.sqrt(var + 1e-5) * weight + bias
        return np.asarray(out / (1 + np.exp(-out)))

    def csp(self, name: str, x: Array, bottlenecks: int) -> Array:
        inner = self.conv(f"{name}.through", x)
        for number in range(bottlenecks):
            inner = self.conv(f"{name}.bottlenecks.{number}.0", inner)
            inner = self.conv(f"{name}.bottlenecks.{number}.1", inner)
        return self.conv(f"{name}.join", np.concatenate([inner, self.conv(f"{name}.around", x)]))

    def top_down(self, maps: list[Array], bottlenecks: int, name: str = "") -> list[Array]:
        fine, middle, coarse = maps
        lateral_coarse = self.conv(f"{name}lateral_coarse", coarse)
        joined = self.csp(f"{name}fuse_middle", np.concatenate([twice(lateral_coarse), middle]), bottlenecks)
        lateral_middle = self.conv(f"{name}lateral_middle", joined)
        fine = self.csp(f"{name}fuse_fine", np.concatenate([twice(lateral_middle), fine]), bottlenecks)
        return [fine, lateral_middle, lateral_coarse]

    def both_ways(self, maps: list[Array], bottlenecks: int) -> list[Array]:
        fine, lateral_middle, lateral_coarse = self.top_down(maps, bottlenecks, "top_down.")
        down = self.conv("down_fine", fine, stride=2)
        middle = self.csp("fuse_middle", np.concatenate([down, lateral_middle]), bottlenecks)
        down = self.conv("down_middle", middle, stride=2)
        return [fine, middle, self.csp("fuse_coarse", np.concatenate([down, lateral_coarse]), bottlenecks)]


def twice(x: Array) -> Array:
    """Repeat every position in a square of 2 x 2."""
    out = np.zeros((x.shape[0], 2 * x.shape[1], 2 * x.shape[2]))
    for y in range(out.shape[1]):
        for column in range(out.shape[2]):
            out[:, y, column] = x[:, y // 2, column // 2]
    return out


def with_random_norms(module: nn.Module) -> nn.Module:
    """Return the module in float64 and evaluation mode, with random parameters of its norms."""
    module.double().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.weight, part.bias, part.running_mean):
                nn.init.normal_(values)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return module


def three_maps(dims: tuple[int, int, int], height: int, width: int) -> list[torch.Tensor]:
    """Return the maps of one sample; the coarse map is ``height x width``."""
    return [
        torch.randn(1, dim, height * scale, width * scale, dtype=torch.float64)
        for dim, scale in zip(dims, (4, 2, 1), strict=True)
    ]


@pytest.mark.parametrize(("height", "width", "bottlenecks"), [(1, 2, 3), (3, 1, 1)])
def test_equals_the_neck_computed_by_hand(height: int, width: int, bottlenecks: int) -> None:
    torch.manual_seed(1)
    dims = (4, 6, 10)
    neck = with_random_norms(PathAggregation(dims, bottlenecks=bottlenecks))
    maps = three_maps(dims, height, width)
    with torch.no_grad():
        out = neck(maps)
    expected = ByHand(neck).both_ways([visual[0].numpy() for visual in maps], bottlenecks)
    for ours, by_hand in zip(out, expected, strict=True):
        np.testing.assert_allclose(ours[0].numpy(), by_hand, rtol=1e-10, atol=1e-10)


def test_the_top_down_path_equals_the_one_computed_by_hand() -> None:
    torch.manual_seed(2)
    dims = (4, 6, 10)
    path, maps = with_random_norms(TopDown(dims)), three_maps(dims, 2, 1)
    with torch.no_grad():
        out = path(maps)
    expected = ByHand(path).top_down([visual[0].numpy() for visual in maps], 3)
    for ours, by_hand in zip(out, expected, strict=True):
        np.testing.assert_allclose(ours[0].numpy(), by_hand, rtol=1e-10, atol=1e-10)


def test_keeps_channels_and_sizes() -> None:
    maps = [visual.float() for visual in three_maps((4, 6, 10), 2, 3)]
    out = PathAggregation((4, 6, 10))(maps)
    assert [visual.shape for visual in out] == [visual.shape for visual in maps]


@pytest.mark.parametrize(("kind", "parameters"), [(PathAggregation, 4_887_296), (TopDown, 1_028_608)])
def test_has_the_parameters_of_the_released_networks(kind: type[nn.Module], parameters: int) -> None:
    with torch.device("meta"):
        module = kind((128, 256, 512))
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters


def test_has_the_multiply_adds_of_its_convolutions() -> None:
    """The expectation for 416 x 416 follows from the sizes of the weights and of the maps."""
    with torch.device("meta"):
        neck = PathAggregation((128, 256, 512))
        maps = [torch.empty(1, dim, side, side) for dim, side in ((128, 52), (256, 26), (512, 13))]
    side_of = {
        "top_down.lateral_coarse": 13,
        "top_down.fuse_middle": 26,
        "top_down.lateral_middle": 26,
        "top_down.fuse_fine": 52,
        "down_fine": 26,
        "fuse_middle": 26,
        "down_middle": 13,
        "fuse_coarse": 13,
    }
    expected = sum(
        weight.numel() * side_of[next(part for part in side_of if name.startswith(part))] ** 2
        for name, weight in neck.named_parameters()
        if name.endswith("conv.weight")
    )
    assert multiply_adds_of(neck, maps) == expected
