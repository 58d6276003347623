"""Kernel projection and convolution in one operator, against separate computation of both steps.

The `fused` backend is tested on a GPU and in Triton's interpreter, in which ``test_triton_kernels.py`` runs this
file. The interpreter has no bfloat16 matrix product, so half precision is float16 here.
"""

from __future__ import annotations

import importlib.util
import math
import os
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.utils.flop_counter import FlopCounterMode

from fusion_modules.laconv.ops.fused import FusedBackend, chosen_fused_backend, fused_dynamic_conv2d

DEVICE = "cuda" if torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1" else "cpu"
HAS_TRITON = DEVICE == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
BACKENDS: list[FusedBackend] = ["reference", "torch", "fused"] if HAS_TRITON else ["reference", "torch"]

Case = dict[str, int]
CASES: list[Case] = [
    {"channels": 6, "groups": 3, "size": 3, "height": 4, "width": 5, "extent": 7, "stride": 1, "dilation": 1},
    {
        "channels": 8,
        "groups": 2,
        "size": 3,
        "height": 5,
        "width": 4,
        "extent": 20,
        "stride": 2,
        "dilation": 1,
    },
    {
        "channels": 4,
        "groups": 4,
        "size": 5,
        "height": 7,
        "width": 6,
        "extent": 300,
        "stride": 1,
        "dilation": 2,
    },
    {"channels": 5, "groups": 1, "size": 1, "height": 1, "width": 3, "extent": 1, "stride": 1, "dilation": 1},
    {"channels": 9, "groups": 1, "size": 3, "height": 4, "width": 4, "extent": 4, "stride": 3, "dilation": 2},
]


def random_inputs(case: Case, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    maps = (case["height"], case["width"])
    rows = case["groups"] * case["size"] ** 2
    shapes = [(2, case["channels"], *maps), (2, case["extent"], *maps), (rows, case["extent"]), (rows,)]
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype) for shape in shapes
    ]


def settings(case: Case) -> dict[str, Any]:
    return {name: case[name] for name in ("groups", "stride", "dilation")}


def by_hand(x: Tensor, condition: Tensor, weight: Tensor, bias: Tensor, case: Case) -> Tensor:
    """Return the result computed tap by tap over the whole map, from ``x`` padded with zeros."""
    size, groups, stride, dilation = (case[name] for name in ("size", "groups", "stride", "dilation"))
    border = dilation * (size // 2)
    padded = torch.nn.functional.pad(x, (border, border, border, border))
    sampled = condition[..., ::stride, ::stride]
    out = x.new_zeros(x.shape[0], x.shape[1], *sampled.shape[2:])
    for channel in range(x.shape[1]):
        for tap in range(size * size):
            weight_row = channel % groups * size * size + tap
            kernel = torch.einsum("e,beyx->byx", weight[weight_row], sampled) + bias[weight_row]
            top, left = tap // size * dilation, tap % size * dilation
            read = padded[:, channel, top : top + x.shape[2] : stride, left : left + x.shape[3] : stride]
            out[:, channel] += kernel * read
    return out


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_result_and_gradients_equal_the_formula(case: Case, backend: FusedBackend) -> None:
    exact = [value.requires_grad_() for value in random_inputs(case, torch.float64)]
    expected = by_hand(*exact, case)
    cotangent = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(expected)
    wanted = [expected, *torch.autograd.grad(expected, exact, cotangent)]
    dtype = torch.float32 if backend == "fused" else torch.float64
    given = [value.detach().to(dtype).requires_grad_() for value in exact]
    out = fused_dynamic_conv2d(*given, **settings(case), backend=backend)
    found = [out, *torch.autograd.grad(out, given, cotangent.to(dtype))]
    for value, want in zip(found, wanted, strict=True):
        scale = float(want.detach().abs().max())
        torch.testing.assert_close(value.double(), want, rtol=0, atol=scale * torch.finfo(dtype).eps * 20)


@pytest.mark.skipif(not HAS_TRITON, reason="needs a GPU or Triton's interpreter")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_fused_half_precision_and_layouts(layout: torch.memory_format) -> None:
    x, condition, weight, bias = random_inputs(CASES[0], torch.float16)
    given = [
        value.contiguous(memory_format=layout).requires_grad_()
        if value.dim() == 4
        else value.requires_grad_()
        for value in (x, condition, weight, bias)
    ]
    wide = [value.detach().double().requires_grad_() for value in given]
    out = fused_dynamic_conv2d(*given, **settings(CASES[0]), backend="fused")
    expected = fused_dynamic_conv2d(*wide, **settings(CASES[0]), backend="torch")
    assert out.is_contiguous(memory_format=layout)
    cotangent = torch.ones_like(out)
    gradients = torch.autograd.grad(out, given, cotangent)
    assert all(value.is_contiguous(memory_format=layout) for value in gradients[:2])
    wanted = torch.autograd.grad(expected, wide, cotangent.double())
    for value, want in zip((out, *gradients), (expected, *wanted), strict=True):
        assert value.dtype == torch.float16
        torch.testing.assert_close(value.double(), want, rtol=0, atol=float(want.detach().abs().max()) * 2e-3)


@pytest.mark.skipif(not HAS_TRITON, reason="needs a GPU or Triton's interpreter")
def test_a_second_derivative_of_fused_raises_an_error() -> None:
    given = [value.requires_grad_() for value in random_inputs(CASES[0], torch.float32)]
    out = fused_dynamic_conv2d(*given, **settings(CASES[0]), backend="fused")
    (first,) = torch.autograd.grad(out.sum(), given[1], create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated only once; for second derivatives use backend="):
        torch.autograd.grad(first.sum(), given[2])


@pytest.mark.skipif(not HAS_TRITON, reason="needs a GPU or Triton's interpreter")
def test_fused_under_transformations() -> None:
    """The transformations are vmap, per-sample gradients of the weight, compilation and autocast."""
    case = CASES[0]
    x, condition, weight, bias = random_inputs(case, torch.float32)

    def filtered(x: Tensor, condition: Tensor, weight: Tensor) -> Tensor:
        return fused_dynamic_conv2d(x, condition, weight, bias, **settings(case), backend="fused")

    def energy(weight: Tensor, x: Tensor, condition: Tensor) -> Tensor:
        return filtered(x[None], condition[None], weight).square().sum()

    expected = filtered(x, condition, weight)
    mapped = vmap(filtered, in_dims=(0, 0, None))(x[:, None], condition[:, None], weight)
    torch.testing.assert_close(mapped[:, 0], expected)
    together = vmap(grad(energy), in_dims=(None, 0, 0))(weight, x, condition)
    for sample in range(2):
        torch.testing.assert_close(together[sample], grad(energy)(weight, x[sample], condition[sample]))
    compiled = torch.compile(filtered, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, condition, weight), expected)
    with torch.autocast(DEVICE, dtype=torch.float16):
        assert filtered(x, condition, weight).dtype == torch.float16


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # opcheck's own, in torch 2.15
@pytest.mark.skipif(not HAS_TRITON, reason="needs a GPU or Triton's interpreter")
def test_the_fused_operator_passes_opcheck() -> None:
    given = [value.requires_grad_() for value in random_inputs(CASES[0], torch.float32)]
    torch.library.opcheck(torch.ops.fusion_modules.fused_dynamic_conv2d, (*given, 3, 1, 1))


def test_without_a_bias() -> None:
    x, condition, weight, bias = random_inputs(CASES[0], torch.float64)
    out = fused_dynamic_conv2d(x, condition, weight, **settings(CASES[0]))
    expected = fused_dynamic_conv2d(x, condition, weight, torch.zeros_like(bias), **settings(CASES[0]))
    torch.testing.assert_close(out, expected, rtol=0, atol=0)


@needs_triton
@pytest.mark.parametrize("backend", ["torch", "fused"])
def test_multiply_adds_are_those_of_projection_and_aggregation(backend: FusedBackend) -> None:
    case = CASES[1]
    given = [value.to("meta").requires_grad_() for value in random_inputs(case, torch.float32)]
    with FlopCounterMode(display=False) as counter:
        out = fused_dynamic_conv2d(*given, **settings(case), backend=backend)
        forward = counter.get_total_flops()
        out.sum().backward()
    taps, positions = case["size"] ** 2, math.prod(out.shape[2:])
    assert forward == 2 * 2 * (case["extent"] * case["groups"] + case["channels"]) * taps * positions
    assert counter.get_total_flops() == 3 * forward


def test_auto_does_not_choose_fused_for_float64_and_determinism() -> None:
    x, condition, weight, _ = random_inputs(CASES[0], torch.float32)
    assert chosen_fused_backend(x, condition, weight) == ("fused" if DEVICE == "cuda" else "torch")
    assert chosen_fused_backend(x.double(), condition, weight) == ("triton" if DEVICE == "cuda" else "torch")
    torch.use_deterministic_algorithms(True)
    try:
        assert chosen_fused_backend(x, condition, weight) == ("triton" if DEVICE == "cuda" else "torch")
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"condition": (2, 7, 5, 4)}, "differ in samples or positions"),
        ({"weight": (27, 8)}, r"weight \[27, 8\] does not fit a condition of 7 channels"),
        ({"weight": (28, 7)}, "28 rows are not a multiple of 3 groups"),
        ({"weight": (12, 7)}, "odd k up to 11, not 4"),
        ({"weight": (27, 7, 1, 1)}, "not 4-D, 4-D and 4-D"),
        ({"bias": (9,)}, r"bias \[9\] must have one value for each of the 27 rows"),
        ({"x": (2, 5, 4, 5)}, "3 groups do not divide 5 channels"),
    ],
)
def test_shapes_that_do_not_fit_are_rejected(change: dict[str, tuple[int, ...]], message: str) -> None:
    shapes = {"x": (2, 6, 4, 5), "condition": (2, 7, 4, 5), "weight": (27, 7), "bias": (27,)} | change
    with pytest.raises(ValueError, match=message):
        fused_dynamic_conv2d(**{name: torch.zeros(shape) for name, shape in shapes.items()}, groups=3)  # type: ignore[arg-type]


@needs_triton
def test_fused_rejects_float64() -> None:
    with pytest.raises(ValueError, match="the fused kernel does not support float64"):
        fused_dynamic_conv2d(
            *(value.to("meta") for value in random_inputs(CASES[0], torch.float64)),
            **settings(CASES[0]),
            backend="fused",
        )


@pytest.mark.skipif(HAS_TRITON, reason="the backend can run on this machine")
def test_fused_is_rejected_without_a_gpu() -> None:
    with pytest.raises(ValueError, match="needs tensors on a CUDA GPU, not on cpu"):
        fused_dynamic_conv2d(*random_inputs(CASES[0], torch.float32), **settings(CASES[0]), backend="fused")
