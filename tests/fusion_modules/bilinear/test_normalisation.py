"""The normalisation of the bilinear family: values, and gradients at zero, where a square root has none."""

from __future__ import annotations

import pytest
import torch

from fusion_modules.bilinear.normalisation import power_normalise


def test_keeps_signs_and_scales_to_unit_length() -> None:
    values = torch.randn(2, 7, 3, 4, dtype=torch.float64)
    out = power_normalise(values)
    for b, row, column in [(0, 0, 0), (1, 2, 3)]:
        z = values[b, :, row, column]
        roots = torch.tensor([abs(x) ** 0.5 * (1 if x > 0 else -1) for x in z.tolist()], dtype=torch.float64)
        torch.testing.assert_close(out[b, :, row, column], roots / roots.norm(), rtol=1e-6, atol=0)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(2, 3, 4, dtype=torch.float64), rtol=1e-6, atol=0)


def test_normalises_along_any_dimension() -> None:
    values = torch.randn(2, 3, 4, dtype=torch.float64)
    assert torch.equal(
        power_normalise(values, dim=2), power_normalise(values.transpose(1, 2)).transpose(1, 2)
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_gradients_are_finite_where_values_are_zero(dtype: torch.dtype) -> None:
    values = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, -2.0]], dtype=dtype, requires_grad=True)
    out = power_normalise(values)
    out.backward(torch.ones_like(out))
    assert out.dtype == dtype
    assert torch.equal(out[0], torch.zeros(3, dtype=dtype))
    assert values.grad is not None
    assert torch.equal(values.grad[values == 0], torch.zeros(4, dtype=dtype))
    assert values.grad.isfinite().all()


def test_slopes_are_bounded_near_zero() -> None:
    """A much larger second value sets the length, so the slope of the tiny value is that of the square root."""
    tiny = torch.tensor(1e-30, dtype=torch.float64, requires_grad=True)
    power_normalise(torch.stack((tiny, torch.ones_like(tiny))), dim=0)[0].backward()
    assert tiny.grad is not None
    assert tiny.grad.item() == pytest.approx(1e4, rel=1e-6)


def test_gradients_equal_finite_differences() -> None:
    values = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(power_normalise, (values,))
