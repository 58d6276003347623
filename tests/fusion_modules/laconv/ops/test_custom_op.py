"""The custom operator under the transformations of torch: compile, export, vmap, grad, autocast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, jacrev, vmap

from fusion_modules.laconv import dynamic_conv2d

Shape = tuple[int, ...]


def normal(*shapes: Shape, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def energy(x: Tensor, kernels: Tensor) -> Tensor:
    return dynamic_conv2d(x, kernels).square().sum()


class Filter(nn.Module):
    def forward(self, x: Tensor, kernels: Tensor) -> Tensor:
        return torch.relu(dynamic_conv2d(torch.tanh(x), kernels, stride=2))


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_compiles_as_one_graph_forward_and_backward(compiler: str, backend: str) -> None:
    def block(x: Tensor, kernels: Tensor) -> Tensor:
        return torch.tanh(dynamic_conv2d(torch.tanh(x), kernels, dilation=2, backend=backend))  # type: ignore[arg-type]

    torch.compiler.reset()
    given = [value.requires_grad_() for value in normal((2, 6, 4, 5), (2, 3, 9, 4, 5))]
    compiled: Callable[..., Tensor] = torch.compile(block, fullgraph=True, backend=compiler)
    out, expected = compiled(*given), block(*given)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(
        torch.autograd.grad(out.sum(), given), torch.autograd.grad(expected.sum(), given)
    )


def test_compiles_with_dynamic_sizes() -> None:
    torch.compiler.reset()
    compiled = torch.compile(Filter(), fullgraph=True, backend="aot_eager", dynamic=True)
    for height in (4, 7, 8):
        x, kernels = normal((2, 6, height, 5), (2, 3, 9, (height - 1) // 2 + 1, 3))
        torch.testing.assert_close(compiled(x, kernels), Filter()(x, kernels))


def test_is_exported_as_one_node_and_the_program_runs() -> None:
    x, kernels = normal((2, 6, 4, 5), (2, 3, 9, 2, 3))
    program = torch.export.export(Filter(), (x, kernels))
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert sum("fusion_modules.dynamic_conv2d" in name for name in names) == 1
    torch.testing.assert_close(program.module()(x, kernels), Filter()(x, kernels))


@pytest.mark.parametrize(
    ("in_dims", "extra"), [((0, 0), (3, 3)), ((0, None), (3, None)), ((None, 1), (None, 3))]
)
def test_vmap_equals_a_loop(in_dims: tuple[int | None, ...], extra: tuple[int | None, ...]) -> None:
    shapes = [(2, 6, 4, 5), (2, 3, 9, 4, 5)]
    stacked = [
        tuple(shape) if count is None else (*shape[: axis or 0], count, *shape[axis or 0 :])
        for shape, axis, count in zip(shapes, in_dims, extra, strict=True)
    ]
    values = normal(*stacked)
    one_by_one = [
        dynamic_conv2d(
            *(
                value if axis is None else value.select(axis, index)
                for value, axis in zip(values, in_dims, strict=True)
            )
        )
        for index in range(3)
    ]
    torch.testing.assert_close(vmap(dynamic_conv2d, in_dims=in_dims)(*values), torch.stack(one_by_one))


def test_per_sample_gradients() -> None:
    """vmap of grad is the usual way to per-sample gradients; here of one map with three sets of kernels."""
    x, kernels = normal((1, 6, 4, 5), (3, 1, 3, 9, 4, 5))
    together = vmap(grad(energy, argnums=(0, 1)), in_dims=(None, 0))(x, kernels)
    for index, one in enumerate(kernels):
        given = [x.clone().requires_grad_(), one.clone().requires_grad_()]
        expected = torch.autograd.grad(energy(*given), given)
        torch.testing.assert_close([value[index] for value in together], list(expected))


def test_jacobian_in_reverse() -> None:
    """The operator is linear in ``x``, so its Jacobian times ``x`` is its result."""
    x, kernels = normal((1, 2, 3, 2), (1, 1, 9, 3, 2))
    jacobian = jacrev(dynamic_conv2d)(x, kernels)
    torch.testing.assert_close((jacobian * x).sum((-4, -3, -2, -1)), dynamic_conv2d(x, kernels))


def test_gradients_are_the_same_with_and_without_a_graph_of_their_own() -> None:
    given = [value.requires_grad_() for value in normal((2, 6, 4, 5), (2, 3, 9, 4, 5))]
    plain = torch.autograd.grad(energy(*given), given)
    with_graph = torch.autograd.grad(energy(*given), given, create_graph=True)
    assert all(value.grad_fn is None for value in plain)
    assert all(value.grad_fn is not None for value in with_graph)
    for value, other in zip(plain, with_graph, strict=True):
        assert torch.equal(value, other)


def test_a_batch_of_output_gradients_equals_a_loop() -> None:
    """`torch.autograd.grad` maps over the batch while no graph of the gradients is built."""
    given = [value.requires_grad_() for value in normal((2, 6, 4, 5), (2, 3, 9, 4, 5))]
    out = dynamic_conv2d(*given)
    grads = normal((3, *out.shape))[0]
    together = torch.autograd.grad(out, given, grads, retain_graph=True, is_grads_batched=True)
    loop = [torch.autograd.grad(out, given, single, retain_graph=True) for single in grads]
    for value, singles in zip(together, zip(*loop, strict=True), strict=True):
        torch.testing.assert_close(value, torch.stack(singles))


def test_gradient_of_a_gradient() -> None:
    """The second derivative of ``|D(x, w)|^2`` along ``v`` is ``2 |D(v, w)|^2``, because ``D`` is linear in ``x``."""
    x, direction, kernels = normal((1, 4, 3, 3), (1, 4, 3, 3), (1, 2, 9, 3, 3))

    def slope(x: Tensor) -> Tensor:
        return (grad(energy)(x, kernels) * direction).sum()

    curvature = (grad(slope)(x) * direction).sum()
    torch.testing.assert_close(curvature, 2 * energy(direction, kernels))


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_its_type(dtype: torch.dtype, backend: str) -> None:
    given = [value.requires_grad_() for value in normal((2, 6, 4, 5), (2, 3, 9, 4, 5), dtype=torch.float32)]
    with torch.autocast("cpu", dtype=dtype):
        out = dynamic_conv2d(*given, backend=backend)  # type: ignore[misc, arg-type]
    assert out.dtype == dtype
    expected = dynamic_conv2d(*(value.to(dtype) for value in given))
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    assert all(value.dtype == torch.float32 for value in torch.autograd.grad(out.sum(), given))


def test_autocast_does_not_cast_float64() -> None:
    x, kernels = normal((2, 6, 4, 5), (2, 3, 9, 4, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert dynamic_conv2d(x, kernels).dtype == torch.float64


def test_the_registered_operator_supports_autocast() -> None:
    """An exported program calls the operator without the Python function."""
    x, kernels = normal((2, 6, 4, 5), (2, 3, 9, 4, 5), dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = torch.ops.fusion_modules.dynamic_conv2d(x, kernels, 1, 1, "torch")
    torch.testing.assert_close(out, dynamic_conv2d(x.bfloat16(), kernels.bfloat16()), rtol=0, atol=0)


def test_compiles_under_autocast() -> None:
    torch.compiler.reset()
    given = normal((2, 6, 4, 5), (2, 3, 9, 4, 5), dtype=torch.float32)
    compiled: Callable[..., Tensor] = torch.compile(dynamic_conv2d, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(compiled(*given), dynamic_conv2d(*given), rtol=0, atol=0)
