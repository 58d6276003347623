"""The rivals compute their papers' aggregation, forward and backward; their kernels run in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fusion_modules.laconv.bench import rivals
from fusion_modules.laconv.bench.rivals import natten_layout, rivals_on_gpu
from fusion_modules.laconv.ops.operator import dynamic_conv2d

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
HAS_TRITON = DEVICE == "cuda" or INTERPRETED
ROOT = Path(__file__).parents[4]


@pytest.mark.slow
def test_the_kernels_of_rivals_pass_in_the_interpreter() -> None:
    """The interpreter must be enabled before Triton is imported."""
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__, "-k", "triton"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout, done.stdout


@pytest.mark.skipif(INTERPRETED, reason="the interpreter replaces the compiler")
@pytest.mark.parametrize("interleaved", [True, False], ids=["san", "involution"])
@pytest.mark.parametrize("name", ["_aggregate", "_gradient_of_map", "_gradient_of_kernels"])
def test_the_kernels_of_rivals_compile_for_a_gpu(
    name: str, interleaved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from fusion_modules.laconv.bench import rival_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(rival_kernels, name)
    constants = {
        "per_group": 16,
        "size": 7,
        "interleaved": interleaved,
        "accumulator": triton.language.float32,
        "block": 1024,
    }
    numbers = {"values", "groups", "height", "width"}
    signature = {
        parameter.name: "constexpr"
        if parameter.name in constants
        else "i32"
        if parameter.name in numbers
        else "*fp32"
        for parameter in kernel.params
    }
    source = ASTSource(kernel, signature, constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 32})
    assert "st.global" in compiled.asm["ptx"]


@pytest.mark.skipif(not HAS_TRITON, reason="needs a GPU or Triton's interpreter")
@pytest.mark.parametrize("interleaved", [True, False], ids=["san", "involution"])
@pytest.mark.parametrize(("size", "channels", "groups"), [(3, 6, 3), (5, 4, 1), (1, 4, 4)])
def test_triton_rivals_equal_the_reference(interleaved: bool, size: int, channels: int, groups: int) -> None:
    """With neighbouring channels in a group, the operator computes the same for channels in another order."""
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(2, channels, 4, 5, generator=generator, dtype=torch.float64).to(DEVICE)
    kernels = torch.randn(2, groups, size**2, 4, 5, generator=generator, dtype=torch.float64).to(DEVICE)
    order = torch.arange(channels)
    if not interleaved:
        order = (
            order.view(groups, -1).t().flatten()
        )  # channel i of the operator is channel order[i] of involution

    def expected(x: Tensor, kernels: Tensor) -> Tensor:
        out = dynamic_conv2d(x[:, order], kernels, backend="reference")
        return torch.empty_like(out).index_copy(1, order.to(DEVICE), out)

    function = rivals.san_aggregation if interleaved else rivals.involution_aggregation
    given = [x.requires_grad_(), kernels.requires_grad_()]
    found, wanted = function(*given), expected(*given)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    cotangent = torch.randn(found.shape, generator=generator, dtype=torch.float64).to(DEVICE)
    gradients = torch.autograd.grad(found, given, cotangent)
    torch.testing.assert_close(gradients, torch.autograd.grad(wanted, given, cotangent), rtol=0, atol=1e-12)


def test_the_layout_of_natten_holds_the_same_values() -> None:
    """An aggregation in that layout, written out for the centre tap alone, is a product of the centre tap."""
    x, kernels = torch.randn(2, 6, 4, 5), torch.zeros(2, 3, 9, 4, 5)
    kernels[:, :, 4] = torch.randn(2, 3, 4, 5)
    values, weights = natten_layout(x, kernels)
    product = (values * weights[..., 4:5]).permute(0, 4, 1, 2, 3).flatten(1, 2)
    torch.testing.assert_close(product, dynamic_conv2d(x, kernels))


def test_natten_is_left_out_with_its_reason_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "_natten_operator", lambda: None)
    found, reason = rivals_on_gpu()
    assert [rival.name for rival in found][1:] == [
        "SAN, one thread a value",
        "involution, one thread a value",
    ]
    assert reason.startswith("NATTEN is left out: ")


def test_natten_gets_kernels_values_and_the_size_of_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[tuple[int, ...], tuple[int, ...], int, int]] = []

    def na2d_av(weights: Tensor, values: Tensor, kernel_size: int, dilation: int) -> Tensor:
        calls.append((tuple(weights.shape), tuple(values.shape), kernel_size, dilation))
        return values

    monkeypatch.setattr(rivals, "_natten_operator", lambda: na2d_av)
    (*_, natten), reason = rivals_on_gpu()
    natten.function(*natten.layout(torch.zeros(2, 6, 4, 5), torch.zeros(2, 3, 9, 4, 5)))
    assert (natten.name, reason) == ("NATTEN", "")
    assert calls == [((2, 3, 4, 5, 9), (2, 3, 4, 5, 2), 3, 1)]
