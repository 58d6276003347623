"""Checks of gradients: they reach every parameter, they are correct, and they are finite for inputs of zero."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from fusion_bench.checking.subject import (
    TOLERANCE,
    CheckFailed,
    NotApplicable,
    Subject,
    difference,
    image,
    language,
)
from fusion_bench.contract import FusionModule, Language


def trained(subject: Subject) -> str:
    """A loss on the output reaches every parameter with a gradient that is finite and not zero.

    A parameter that is used and cancels out (such as the bias of attention keys, which a softmax removes) has a
    gradient of rounding noise only. Published modules have such parameters, so the check reports them and passes.
    """
    if not subject.kind.trainable:
        raise NotApplicable("trainable is False: its parameters keep their initial values")
    module = subject.perturbed()
    parameters = dict(module.named_parameters())
    if not parameters:
        return "it has no parameters"
    if fixed := [name for name, value in parameters.items() if not value.requires_grad]:
        raise CheckFailed(
            f"{', '.join(fixed)} does not ask for a gradient",
            "register a tensor that is not trained as a buffer: register_buffer",
        )
    gradients = _gradients(module(image(), language()), list(parameters.values()))
    unreached = [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None]
    if unreached:
        raise CheckFailed(
            f"no gradient reaches {', '.join(unreached)}",
            "leave out what the output does not depend on; use no .detach(), .data or no_grad on the way",
        )
    sizes = [float(gradient.abs().max()) for gradient in gradients if gradient is not None]
    largest = max(sizes)
    if not largest < float("inf"):
        raise CheckFailed("a gradient is not finite", "look for roots, logarithms and divisions at zero")
    noise = [name for name, size in zip(parameters, sizes, strict=True) if size <= 1e-13 * largest]
    for name in noise:
        if _matters(module, name):
            raise CheckFailed(
                f"the output depends on {name}, and its gradient is zero",
                "rounding, comparing and taking signs have no slope: train on a soft form of them",
            )
    note = f"; {', '.join(noise)} cancels out of the output" if noise else ""
    return f"{len(parameters)} parameters{note}"


def finite_at_zero(subject: Subject) -> str:
    """Gradients are finite where map, words and sentence are zero (signed roots, norms)."""
    module, heard = subject.fresh(), language(dtype=torch.float32)
    seen = torch.zeros_like(image(dtype=torch.float32)).requires_grad_()
    nothing = Language(torch.zeros_like(heard.words), heard.mask, torch.zeros_like(heard.sentence))
    trainable = {name: value for name, value in module.named_parameters() if value.requires_grad}
    wanted = {"the map": seen, **trainable}
    out = module(seen, nothing)
    if not out.requires_grad:
        raise NotApplicable("its output depends on nothing that has a gradient")
    for name, gradient in zip(wanted, _gradients(out, list(wanted.values())), strict=True):
        if gradient is not None and not gradient.isfinite().all():
            raise CheckFailed(
                f"where all inputs are zero, the gradient of {name} is not finite",
                "roots and norms need an epsilon inside, so that their slope at zero is finite",
            )
    return ""


_STEP = 1e-6
_TRIES = 3


def gradcheck(subject: Subject) -> str:
    """Gradients of each input and parameter agree with central differences, in float64 on a 2x3 map.

    The comparison uses random directions, like the fast mode of `torch.autograd.gradcheck`; that function needs one
    forward per parameter to report a failure. A direction that crosses a kink is followed by up to two others.
    """
    module, heard = subject.perturbed(), language((3, 2), words=3)
    inputs = {"the map": image(2, 2, 3), "the words": heard.words, "the sentence": heard.sentence}
    parameters = dict(module.named_parameters())
    leaves = {name: value.detach().clone().requires_grad_() for name, value in (inputs | parameters).items()}

    def forward(values: dict[str, Tensor]) -> Tensor:
        seen = values["the map"]
        said = Language(values["the words"], heard.mask, values["the sentence"])
        out: Tensor = functional_call(module, {name: values[name] for name in parameters}, (seen, said))
        return out * _weights(out)

    out = forward(leaves)
    if not out.requires_grad:
        raise NotApplicable("its output depends on nothing that has a gradient")
    gradients = torch.autograd.grad(out.sum(), list(leaves.values()), allow_unused=True)
    floor = 1e-7 * float(out.detach().abs().sum())  # what float64 leaves of a difference over `_STEP`
    generator = torch.Generator().manual_seed(6)
    for (name, value), gradient in zip(leaves.items(), gradients, strict=True):
        slope = torch.zeros_like(value) if gradient is None else gradient
        for _ in range(_TRIES):
            direction = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            with torch.no_grad():
                ahead, behind = (
                    forward({**leaves, name: value + sign * _STEP * direction}).sum() for sign in (1, -1)
                )
            measured, computed = float(ahead - behind) / (2 * _STEP), float((slope * direction).sum())
            if abs(measured - computed) <= floor + 1e-4 * max(float(slope.norm()), abs(measured)):
                break
        else:
            raise CheckFailed(
                f"along a direction of {name} backward gives {computed:.6g}, differences give {measured:.6g}",
                "look at custom autograd functions, .detach(), .data and in-place writes",
            )
    return f"{len(leaves)} tensors"


def _gradients(out: Tensor, wanted: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """Return the gradients of a randomly weighted sum of the output, in which nothing cancels by symmetry."""
    if not out.requires_grad:
        return tuple(None for _ in wanted)
    return torch.autograd.grad((out * _weights(out)).sum(), wanted, allow_unused=True)


def _weights(out: Tensor) -> Tensor:
    drawn = torch.randn(out.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return drawn.to(out.dtype)


def _matters(module: FusionModule, name: str) -> bool:
    """Return True if the output changes with one parameter."""
    inputs = (image(), language())
    value = dict(module.named_parameters())[name].detach()
    noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    with torch.no_grad():
        other: Tensor = functional_call(module, {name: value + noise.to(value.dtype)}, inputs)
        return difference(other, module(*inputs)) > TOLERANCE
