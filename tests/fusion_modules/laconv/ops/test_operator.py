"""The position-wise convolution: every backend against loops over samples, channels, positions and taps.

The `triton` backend is tested on a GPU and in Triton's interpreter (``TRITON_INTERPRET=1``):
``test_triton_kernels.py`` runs the last tests of this file in the interpreter. It is slow, so these tests are few and
small.
"""

from __future__ import annotations

import math
import os
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fusion_modules.laconv import dynamic_conv2d
from fusion_modules.laconv.ops import tiling
from fusion_modules.laconv.ops.operator import Backend, chosen_backend

DEVICE = "cuda" if torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1" else "cpu"
HAS_TRITON = DEVICE == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
BACKENDS: list[Backend] = ["reference", "torch"]


def by_loops(x: Tensor, kernels: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    batch, channels, height, width = x.shape
    groups, taps, rows, columns = kernels.shape[1:]
    size = math.isqrt(taps)
    values, weights = x.tolist(), kernels.tolist()
    out = torch.zeros(batch, channels, rows, columns, dtype=torch.float64)
    for b in range(batch):
        for c in range(channels):
            for row in range(rows):
                for column in range(columns):
                    for j in range(taps):
                        y = row * stride + (j // size - size // 2) * dilation
                        z = column * stride + (j % size - size // 2) * dilation
                        if 0 <= y < height and 0 <= z < width:
                            out[b, c, row, column] += (
                                weights[b][c % groups][j][row][column] * values[b][c][y][z]
                            )
    return out.to(x.device)


def random_inputs(
    size: int,
    height: int,
    width: int,
    *,
    stride: int = 1,
    channels: int = 6,
    groups: int = 3,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size * height + width)
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    x = torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)
    kernels = torch.randn(2, groups, size * size, rows, columns, generator=generator, dtype=torch.float64)
    return x.to(DEVICE, dtype), kernels.to(DEVICE, dtype)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [1, 3, 7, 11])
@pytest.mark.parametrize(("height", "width"), [(4, 5), (1, 6), (5, 1), (1, 1)])
def test_equals_the_loops_also_where_the_kernel_is_larger_than_the_map(
    size: int, height: int, width: int, backend: Backend
) -> None:
    x, kernels = random_inputs(size, height, width)
    out = dynamic_conv2d(x, kernels, backend=backend)
    torch.testing.assert_close(out, by_loops(x, kernels), rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("height", "width"), [(7, 6), (2, 5)])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 2), (2, 1), (2, 2), (3, 2), (2, 3), (4, 6)])
def test_stride_and_dilation_equal_the_loops(
    stride: int, dilation: int, height: int, width: int, backend: Backend
) -> None:
    x, kernels = random_inputs(5, height, width, stride=stride)
    out = dynamic_conv2d(x, kernels, stride=stride, dilation=dilation, backend=backend)
    torch.testing.assert_close(out, by_loops(x, kernels, stride, dilation), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "stride", "dilation"),
    [(1, 1, 1), (3, 1, 1), (5, 1, 1), (3, 2, 1), (3, 1, 2), (3, 2, 3), (1, 2, 1)],
)
def test_both_gradients_are_those_of_finite_differences(size: int, stride: int, dilation: int) -> None:
    x, kernels = random_inputs(size, 3, 4, stride=stride, channels=4, groups=2)

    def operator(x: Tensor, kernels: Tensor) -> Tensor:
        return dynamic_conv2d(x, kernels, stride=stride, dilation=dilation, backend="torch")

    assert torch.autograd.gradcheck(operator, (x.requires_grad_(), kernels.requires_grad_()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_second_derivatives_are_those_of_finite_differences(backend: Backend) -> None:
    x, kernels = random_inputs(3, 2, 3, stride=2, channels=2, groups=2)

    def operator(x: Tensor, kernels: Tensor) -> Tensor:
        return dynamic_conv2d(x, kernels, stride=2, backend=backend)

    assert torch.autograd.gradgradcheck(operator, (x.requires_grad_(), kernels.requires_grad_()))


@pytest.mark.parametrize(
    ("map_elements", "tap_elements"), [(1 << 20, 90), (60, 1 << 20), (16, 1 << 20), (1, 1)]
)
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 2), (2, 1)])
def test_neither_result_nor_gradients_depend_on_the_tiles(
    monkeypatch: pytest.MonkeyPatch, map_elements: int, tap_elements: int, stride: int, dilation: int
) -> None:
    """The tiles hold several samples, some groups, some rows or a single row."""

    def results() -> list[Tensor]:
        x, kernels = (value.requires_grad_() for value in random_inputs(3, 7, 4, stride=stride, groups=2))
        out = dynamic_conv2d(x, kernels, stride=stride, dilation=dilation, backend="torch")
        return [out, *torch.autograd.grad(out.square().sum(), (x, kernels))]

    expected = results()
    monkeypatch.setattr(tiling, "_MAP_ELEMENTS", map_elements)
    monkeypatch.setattr(tiling, "_TAP_ELEMENTS", tap_elements)
    torch.testing.assert_close(results(), expected, rtol=0, atol=1e-12)


def test_tiles_cover_the_output_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "_MAP_ELEMENTS", 200)
    covered = torch.zeros(5, 4, 7, 3)
    for tile in tiling.tiles(torch.zeros(5, 4, 9, 7, 3), channels=16):
        covered[tile.samples, tile.groups, tile.rows] += 1
    assert (covered == 1).all()


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # opcheck's own, in torch 2.15
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 3)])
def test_the_operator_passes_opcheck(layout: torch.memory_format, stride: int, dilation: int) -> None:
    x, kernels = random_inputs(3, 4, 5, stride=stride, dtype=torch.float32)
    x = x.contiguous(memory_format=layout).requires_grad_()
    arguments = (x, kernels.requires_grad_(), stride, dilation, "torch")
    torch.library.opcheck(torch.ops.fusion_modules.dynamic_conv2d, arguments)
    grad = dynamic_conv2d(x, kernels, stride=stride, dilation=dilation).detach()
    torch.library.opcheck(torch.ops.fusion_modules.dynamic_conv2d_backward, (grad, *arguments))


def test_channel_c_is_filtered_by_group_c_mod_g() -> None:
    """Groups are interleaved: with 2 groups, channels 0 and 2 use group 0, channels 1 and 3 use group 1."""
    x = torch.ones(1, 4, 1, 1)
    kernels = torch.tensor([10.0, 20.0]).view(1, 2, 1, 1, 1)
    assert dynamic_conv2d(x, kernels).flatten().tolist() == [10.0, 20.0, 10.0, 20.0]


def test_taps_run_row_by_row_from_the_upper_left() -> None:
    """Tap 2 of 9 is one row up and one column to the right."""
    x = torch.arange(9.0).view(1, 1, 3, 3)
    kernels = torch.zeros(1, 1, 9, 3, 3)
    kernels[0, 0, 2, 1, 1] = 1
    assert dynamic_conv2d(x, kernels)[0, 0, 1, 1] == x[0, 0, 0, 2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_changes_nothing_and_is_kept(
    layout: torch.memory_format, stride: int, backend: Backend
) -> None:
    x, kernels = random_inputs(3, 4, 5, stride=stride)
    given = x.contiguous(memory_format=layout).requires_grad_()
    expected = x.clone().requires_grad_()
    out = dynamic_conv2d(given, kernels, stride=stride, backend=backend)
    assert out.is_contiguous(memory_format=layout)
    torch.testing.assert_close(out, dynamic_conv2d(expected, kernels, stride=stride), rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(out.square().sum(), given)
    (wanted,) = torch.autograd.grad(dynamic_conv2d(expected, kernels, stride=stride).square().sum(), expected)
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-12)
    assert gradient.is_contiguous(memory_format=layout) or backend == "reference"


@pytest.mark.parametrize("backend", BACKENDS)
def test_arguments_may_be_non_contiguous_views(backend: Backend) -> None:
    x, kernels = random_inputs(3, 4, 5)
    strided = torch.stack([x, x], dim=-1)[..., 0]
    permuted = kernels.permute(0, 3, 4, 2, 1).contiguous().permute(0, 4, 3, 1, 2)
    expected = dynamic_conv2d(x, kernels, backend=backend)
    torch.testing.assert_close(dynamic_conv2d(strided, permuted, backend=backend), expected, rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_accumulated_in_float32(half: torch.dtype, backend: Backend) -> None:
    """The result is the float32 result rounded once; a sum of 49 taps in half precision would differ more."""
    x, kernels = random_inputs(7, 6, 6, dtype=half)
    expected = dynamic_conv2d(x.float(), kernels.float(), backend=backend)
    out = dynamic_conv2d(x, kernels, backend=backend)
    assert out.dtype == half
    torch.testing.assert_close(out, expected.to(half), rtol=0, atol=0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_gradients_in_half_precision_are_rounded_once(
    monkeypatch: pytest.MonkeyPatch, half: torch.dtype, stride: int
) -> None:
    """The rounding is also done once if tiles of single rows add to the same row of the gradient."""
    monkeypatch.setattr(tiling, "_MAP_ELEMENTS", 1)
    x, kernels = (value.requires_grad_() for value in random_inputs(5, 6, 6, stride=stride, dtype=half))
    wide = [value.detach().float().requires_grad_() for value in (x, kernels)]
    out = dynamic_conv2d(*wide, stride=stride)
    grad = torch.ones_like(out, dtype=half)
    expected = torch.autograd.grad(out, wide, grad.float())
    gradients = torch.autograd.grad(dynamic_conv2d(x, kernels, stride=stride), (x, kernels), grad)
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted.to(half), rtol=0, atol=0)


def test_mixed_types_promote() -> None:
    x, kernels = random_inputs(3, 4, 5, dtype=torch.float32)
    assert dynamic_conv2d(x, kernels.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("map_elements", [1 << 16, 1])
def test_a_sample_that_is_not_finite_does_not_change_another(
    monkeypatch: pytest.MonkeyPatch, map_elements: int
) -> None:
    monkeypatch.setattr(tiling, "_MAP_ELEMENTS", map_elements)
    x, kernels = random_inputs(3, 4, 5)
    expected = dynamic_conv2d(x, kernels)[1]
    x[0] = torch.nan
    torch.testing.assert_close(dynamic_conv2d(x, kernels)[1], expected, rtol=0, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stride", [1, 2])
def test_multiply_adds_are_c_k_k_for_each_output_position_and_twice_that_backward(
    stride: int, backend: Backend
) -> None:
    x, kernels = (value.to("meta").requires_grad_() for value in random_inputs(5, 4, 7, stride=stride))
    with FlopCounterMode(display=False) as counter:
        out = dynamic_conv2d(x, kernels, stride=stride, backend=backend)
        forward = counter.get_total_flops()
        out.sum().backward()
    assert forward == 2 * (2 * 6 * 25 * math.prod(out.shape[2:]))
    assert counter.get_total_flops() == 3 * forward


def test_an_empty_batch_gives_an_empty_result() -> None:
    x, kernels = (value[:0].requires_grad_() for value in random_inputs(3, 4, 5))
    out = dynamic_conv2d(x, kernels)
    assert out.shape == x.shape
    assert torch.autograd.grad(out.sum(), kernels)[0].shape == kernels.shape


def test_auto_uses_the_chosen_backend() -> None:
    x, kernels = random_inputs(3, 4, 5)
    chosen = chosen_backend(x, kernels, 1, 1)
    assert chosen == ("triton" if DEVICE == "cuda" else "torch")
    torch.testing.assert_close(
        dynamic_conv2d(x, kernels), dynamic_conv2d(x, kernels, backend=chosen), rtol=0, atol=0
    )


@pytest.mark.parametrize(
    ("x_shape", "kernels_shape", "settings", "message"),
    [
        ((2, 6, 4, 5), (2, 4, 9, 4, 5), {}, "4 groups do not divide 6 channels"),
        ((2, 6, 4, 5), (2, 3, 4, 4, 5), {}, "odd k up to 11, not 4"),
        ((2, 6, 4, 5), (2, 3, 8, 4, 5), {}, "odd k up to 11, not 8"),
        ((2, 6, 4, 5), (2, 3, 169, 4, 5), {}, "odd k up to 11, not 169"),
        ((2, 6, 4, 5), (2, 3, 9, 5, 4), {}, "differ in samples or positions"),
        ((2, 6, 4, 5), (3, 3, 9, 4, 5), {}, "differ in samples or positions"),
        ((2, 6, 4, 5), (2, 3, 9, 4, 5), {"stride": 2}, "at stride 2 .* differ in samples or positions"),
        ((6, 4, 5), (2, 3, 9, 4, 5), {}, "not 3-D and 5-D"),
        ((2, 6, 4, 5), (2, 3, 9, 4, 5), {"stride": 0}, "must be at least 1, not 0 and 1"),
        ((2, 6, 4, 5), (2, 3, 9, 4, 5), {"dilation": -1}, "must be at least 1, not 1 and -1"),
        ((2, 6, 4, 5), (2, 3, 9, 4, 5), {"backend": "cudnn"}, "no backend 'cudnn'; choose auto, reference"),
    ],
)
def test_arguments_that_do_not_fit_are_rejected(
    x_shape: tuple[int, ...], kernels_shape: tuple[int, ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dynamic_conv2d(torch.zeros(x_shape), torch.zeros(kernels_shape), **settings)


def test_integers_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"must be floating-point, not torch.int64 and torch.float32"):
        dynamic_conv2d(torch.zeros(1, 1, 2, 2, dtype=torch.int64), torch.zeros(1, 1, 1, 2, 2))


@pytest.mark.skipif(HAS_TRITON, reason="the backend can run on this machine")
def test_triton_is_rejected_without_a_gpu() -> None:
    with pytest.raises(ValueError, match="needs tensors on a CUDA GPU, not on cpu"):
        dynamic_conv2d(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 2, 2), backend="triton")


@pytest.mark.skipif(not HAS_TRITON, reason="needs a GPU or Triton's interpreter")
@pytest.mark.parametrize(
    ("size", "height", "width", "stride", "dilation", "channels", "groups", "layout"),
    [
        (3, 4, 5, 1, 1, 6, 3, torch.contiguous_format),
        (3, 5, 4, 2, 1, 6, 2, torch.channels_last),
        (5, 3, 6, 1, 2, 4, 4, torch.channels_last),
        (3, 5, 6, 3, 2, 3, 1, torch.contiguous_format),
        (7, 2, 3, 1, 1, 2, 1, torch.contiguous_format),
        (1, 12, 13, 1, 1, 20, 1, torch.contiguous_format),
    ],
)
def test_triton_equals_the_loops_and_the_references_gradients(
    size: int,
    height: int,
    width: int,
    stride: int,
    dilation: int,
    channels: int,
    groups: int,
    layout: torch.memory_format,
) -> None:
    """The last case uses several blocks of positions and of channels."""
    x, kernels = random_inputs(size, height, width, stride=stride, channels=channels, groups=groups)
    given = [x.contiguous(memory_format=layout).requires_grad_(), kernels.requires_grad_()]
    out = dynamic_conv2d(*given, stride=stride, dilation=dilation, backend="triton")
    torch.testing.assert_close(out, by_loops(x, kernels, stride, dilation), rtol=0, atol=1e-12)
    reference = dynamic_conv2d(*given, stride=stride, dilation=dilation, backend="reference")
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out)
    gradients = torch.autograd.grad(out, given, cotangent)
    expected = torch.autograd.grad(reference, given, cotangent)
    torch.testing.assert_close(gradients, expected, rtol=0, atol=1e-12)
    assert out.is_contiguous(memory_format=layout)
    assert gradients[0].is_contiguous(memory_format=layout)


@pytest.mark.skipif(not HAS_TRITON, reason="needs a GPU or Triton's interpreter")
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_triton_accumulates_half_precision_in_float32(half: torch.dtype) -> None:
    x, kernels = (value.requires_grad_() for value in random_inputs(5, 3, 4, dtype=half))
    wide = [value.detach().float().requires_grad_() for value in (x, kernels)]
    out = dynamic_conv2d(x, kernels, backend="triton")
    expected = dynamic_conv2d(*wide, backend="reference")
    cotangent = torch.ones_like(out)
    gradients = torch.autograd.grad(out, (x, kernels), cotangent)
    wanted = torch.autograd.grad(expected, wide, cotangent.float())
    for value, want in zip((out, *gradients), (expected, *wanted), strict=True):
        torch.testing.assert_close(value, want.to(half), rtol=torch.finfo(half).eps, atol=1e-6)


def test_what_inference_mode_has_cached_serves_training_too() -> None:
    x, kernels = torch.randn(2, 4, 6, 11), torch.randn(2, 2, 9, 6, 11)  # a size that no other test uses
    with torch.inference_mode():
        expected = dynamic_conv2d(x, kernels)
    leaves = [value.clone().requires_grad_() for value in (x, kernels)]
    found = dynamic_conv2d(*leaves)
    assert torch.equal(found, expected)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(found.sum(), leaves))
