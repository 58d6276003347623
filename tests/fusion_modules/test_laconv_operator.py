"""The position-wise convolution against plain loops over samples, channels, positions and taps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fusion_modules.laconv import dynamic_conv2d


def by_loops(x: Tensor, kernels: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    groups, taps = kernels.shape[1:3]
    size = math.isqrt(taps)
    out = torch.zeros_like(x)
    for b in range(batch):
        for c in range(channels):
            for row in range(height):
                for column in range(width):
                    total = 0.0
                    for j in range(taps):
                        y, z = row + j // size - size // 2, column + j % size - size // 2
                        if 0 <= y < height and 0 <= z < width:
                            total += float(kernels[b, c % groups, j, row, column] * x[b, c, y, z])
                    out[b, c, row, column] = total
    return out


def drawn(
    size: int, height: int, width: int, channels: int = 6, groups: int = 3, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size * height + width)
    x = torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)
    kernels = torch.randn(2, groups, size * size, height, width, generator=generator, dtype=torch.float64)
    return x.to(dtype), kernels.to(dtype)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize(("height", "width"), [(4, 5), (1, 6), (5, 1), (2, 2), (1, 1)])
def test_equals_the_loops_also_where_the_kernel_is_larger_than_the_map(
    size: int, height: int, width: int
) -> None:
    x, kernels = drawn(size, height, width)
    torch.testing.assert_close(dynamic_conv2d(x, kernels), by_loops(x, kernels), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_both_gradients_are_those_of_finite_differences(size: int) -> None:
    x, kernels = drawn(size, 3, 4)
    assert torch.autograd.gradcheck(dynamic_conv2d, (x.requires_grad_(), kernels.requires_grad_()))


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # opcheck's own, in torch 2.15
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_operator_is_registered_soundly(layout: torch.memory_format) -> None:
    x, kernels = drawn(3, 4, 5, dtype=torch.float32)
    x = x.contiguous(memory_format=layout)
    operator = torch.ops.fusion_modules.dynamic_conv2d
    torch.library.opcheck(operator, (x.requires_grad_(), kernels.requires_grad_()))
    torch.library.opcheck(
        torch.ops.fusion_modules.dynamic_conv2d_backward, (x.detach(), x.detach(), kernels.detach())
    )


def test_channel_c_is_filtered_by_group_c_mod_g() -> None:
    """Interleaved groups: with 2 groups, channels 0 and 2 hear group 0, channels 1 and 3 group 1."""
    x = torch.ones(1, 4, 1, 1)
    kernels = torch.tensor([10.0, 20.0]).view(1, 2, 1, 1, 1)
    assert dynamic_conv2d(x, kernels).flatten().tolist() == [10.0, 20.0, 10.0, 20.0]


def test_taps_run_row_by_row_from_the_upper_left() -> None:
    """Tap 2 of 9 is one row up and one column to the right."""
    x = torch.arange(9.0).view(1, 1, 3, 3)
    kernels = torch.zeros(1, 1, 9, 3, 3)
    kernels[0, 0, 2, 1, 1] = 1
    assert dynamic_conv2d(x, kernels)[0, 0, 1, 1] == x[0, 0, 0, 2]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_changes_nothing(layout: torch.memory_format) -> None:
    x, kernels = drawn(3, 4, 5)
    given = x.contiguous(memory_format=layout).requires_grad_()
    expected = x.clone().requires_grad_()
    out = dynamic_conv2d(given, kernels)
    assert out.stride() == given.stride()
    torch.testing.assert_close(out, dynamic_conv2d(expected, kernels), rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(out.sum(), given)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(dynamic_conv2d(expected, kernels).sum(), expected)[0]
    )


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_accumulated_in_float32(half: torch.dtype) -> None:
    """The result is the exact one rounded once: 49 taps added in half precision would drift further."""
    x, kernels = drawn(7, 6, 6, dtype=half)
    expected = dynamic_conv2d(x.float(), kernels.float())
    out = dynamic_conv2d(x, kernels)
    assert out.dtype == half
    torch.testing.assert_close(out, expected.to(half), rtol=0, atol=0)


def test_mixed_types_promote() -> None:
    x, kernels = drawn(3, 4, 5, dtype=torch.float32)
    assert dynamic_conv2d(x, kernels.bfloat16()).dtype == torch.float32


def test_samples_do_not_touch_even_if_one_is_not_finite() -> None:
    x, kernels = drawn(3, 4, 5)
    expected = dynamic_conv2d(x, kernels)[1]
    x[0] = torch.nan
    torch.testing.assert_close(dynamic_conv2d(x, kernels)[1], expected, rtol=0, atol=0)


def test_multiply_adds_are_c_k_k_h_w_a_sample_and_twice_that_backward() -> None:
    x, kernels = (value.to("meta").requires_grad_() for value in drawn(5, 4, 7))
    with FlopCounterMode(display=False) as counter:
        out = dynamic_conv2d(x, kernels)
        forward = counter.get_total_flops()
        out.sum().backward()
    assert forward == 2 * (2 * 6 * 25 * 4 * 7)
    assert counter.get_total_flops() == 3 * forward


@pytest.mark.parametrize(
    ("x_shape", "kernels_shape", "said"),
    [
        ((2, 6, 4, 5), (2, 4, 9, 4, 5), "4 groups do not divide 6 channels"),
        ((2, 6, 4, 5), (2, 3, 4, 4, 5), "odd k, not 4"),
        ((2, 6, 4, 5), (2, 3, 8, 4, 5), "odd k, not 8"),
        ((2, 6, 4, 5), (2, 3, 9, 5, 4), "differ in samples or positions"),
        ((2, 6, 4, 5), (3, 3, 9, 4, 5), "differ in samples or positions"),
        ((6, 4, 5), (2, 3, 9, 4, 5), "not 3-D and 5-D"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    x_shape: tuple[int, ...], kernels_shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        dynamic_conv2d(torch.zeros(x_shape), torch.zeros(kernels_shape))
