"""Checks of floating types: the output has the type of the input, and half precision is finite."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusion_bench.checking.subject import CheckFailed, NotApplicable, Subject, image, language
from fusion_bench.foreign import message_of

_FLOATS = (torch.float32, torch.float64, torch.bfloat16)


def dtype(subject: Subject) -> str:
    """The output has the input's floating type."""
    for kind in _FLOATS:
        module = subject.fresh(dtype=kind)
        try:
            out = module(image(dtype=kind), language(dtype=kind))
        except Exception as error:
            if _lacks_kernel(error):
                continue
            raise CheckFailed(
                f"in {kind} its forward raises {message_of(error)}",
                "make tensors in forward with the input's type: x.new_zeros(...), dtype=x.dtype",
            ) from error
        if out.dtype != kind:
            raise CheckFailed(
                f"{kind} in, {out.dtype} out",
                "cast back with .to(visual.dtype) what is computed in another type",
            )
    return ""


def half(subject: Subject) -> str:
    """float16 and bfloat16 give finite numbers, also for a map of zeros: as type, and in training with autocast."""
    without_kernel = []
    for kind in (torch.float16, torch.bfloat16):
        for autocast in (False, True):
            mode = f"{kind} autocast" if autocast else str(kind)
            try:
                _require_finite(subject, kind, mode, autocast=autocast)
            except (RuntimeError, NotImplementedError) as error:
                if not _lacks_kernel(error):
                    raise
                without_kernel.append(mode)
    if len(without_kernel) == 4:
        raise NotApplicable("this machine's torch has no kernel for it in half precision")
    return f"no kernel on this machine: {', '.join(without_kernel)}" if without_kernel else ""


def _require_finite(subject: Subject, kind: torch.dtype, mode: str, *, autocast: bool) -> None:
    inner = torch.float32 if autocast else kind
    module, heard = subject.fresh(dtype=inner).train(autocast), language(dtype=inner)
    for what, seen in (
        ("a random map", image(dtype=inner)),
        ("a map of zeros", torch.zeros_like(image(dtype=inner))),
    ):
        with torch.autocast("cpu", dtype=kind, enabled=autocast):
            out = module(seen, heard)
        if not out.isfinite().all():
            raise CheckFailed(
                f"{mode}, {what}: the output is not finite",
                "an epsilon below 6e-8 is zero in float16 and numbers end at 65504: compute that step in float32",
            )
        if autocast and out.requires_grad:
            _require_finite_gradients(module, out, f"{mode}, {what}")


def _require_finite_gradients(module: nn.Module, out: Tensor, where: str) -> None:
    parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
    gradients = torch.autograd.grad(out.float().mean(), list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None and not gradient.isfinite().all():
            raise CheckFailed(
                f"{where}: the gradient of {name} is not finite",
                "roots and norms need an epsilon inside, so that their slope at zero is finite",
            )


def _lacks_kernel(error: Exception) -> bool:
    """Return True if torch, not the module, lacks support for this type on a CPU."""
    return "not implemented for" in str(error) or "Unsupported dtype" in str(error)
