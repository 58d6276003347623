"""Checks of multiply-adds: the count covers the arithmetic of the module."""

from __future__ import annotations

from fusion_bench.checking.subject import LANGUAGE_DIM, VISUAL_DIM, CheckFailed, NotApplicable, Subject

_SIZES = ((4, 6, 5), (8, 8, 12))


def counted(subject: Subject) -> str:
    """The counter counts the arithmetic of the module.

    The check does not apply to a module without a matrix among its parameters: by convention, elementwise work is
    not counted. It does apply to a module whose only product is an FFT, because the FFT has a formula.
    """
    module = subject.fresh()
    if not any(parameter.dim() > 1 for parameter in module.parameters()):
        raise NotApplicable("no matrix among its parameters, and elementwise work is not counted")
    costs = [module.multiply_adds(VISUAL_DIM, LANGUAGE_DIM, *size) for size in _SIZES]
    if min(costs) == 0:
        raise CheckFailed(
            "it multiplies with its parameters, yet 0 multiply-adds are counted",
            "write products as matmul, einsum or convolution, or register a formula "
            "(torch.utils.flop_counter.register_flop_formula) for a custom operator",
        )
    return f"{costs[0]} for one sample of a 4x6 map and 5 words"


def declared_cost(subject: Subject) -> str:
    """The paper's formula, if the module declares it, agrees with the count within 2 %."""
    module = subject.fresh()
    pairs = [
        (size, module.declared_cost(*size), module.multiply_adds(VISUAL_DIM, LANGUAGE_DIM, *size))
        for size in _SIZES
    ]
    for (height, width, words), declared, count in pairs:
        if declared is None:
            raise NotApplicable("no formula of the paper's is declared")
        if abs(declared - count) > 0.02 * max(declared, count):
            raise CheckFailed(
                f"a {height}x{width} map and {words} words: declared {declared}, counted {count}",
                "put the formula right, or find the operators that the counter does not see",
            )
    return ""
