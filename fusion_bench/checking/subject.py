"""The module under check, built as often as needed, and its toy inputs.

Modules and inputs have seeds of their own, so that the result of a check does not depend on the other checks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fusion_bench.contract import FusionModule, Language

VISUAL_DIM = 32
LANGUAGE_DIM = 48
WORDS = 5
# Two results are the same when they differ by less than this share of their size. It is wide enough for sums in
# another order and for a module that computes in float32 inside, and far below any real dependence.
TOLERANCE = 1e-5


class CheckFailed(Exception):  # noqa: N818 - a result of a check, not a program error
    """The module breaks a promise of the contract: ``seen`` is the observation, ``remedy`` the fix."""

    def __init__(self, seen: str, remedy: str) -> None:
        super().__init__(seen, remedy)
        self.seen, self.remedy = seen, remedy


class NotApplicable(Exception):  # noqa: N818 - a result of a check, not a program error
    """The check does not apply to the module because of its declarations; the message is the reason."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The class of a module, as every check receives it.

    Attributes:
        kind: the class.
        name: the user's name for it.
    """

    kind: type[FusionModule]
    name: str

    def fresh(self, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> FusionModule:
        """Return a new module in evaluation mode; torch's global random stream does not change."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.kind(VISUAL_DIM, LANGUAGE_DIM).to(dtype).eval()

    def perturbed(self, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> FusionModule:
        """Return a new module with noise on every parameter and statistic, so that no gate keeps its initial zero."""
        module = self.fresh(seed=seed, dtype=dtype)
        generator = torch.Generator().manual_seed(1000 + seed)
        with torch.no_grad():
            for parameter in module.parameters():
                fan_in = parameter[0].numel() if parameter.dim() > 1 else 9
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(noise.to(parameter.dtype), alpha=fan_in**-0.5)
            for norm in batch_norms(module):
                if norm.running_mean is not None and norm.running_var is not None:
                    shape = norm.running_mean.shape
                    norm.running_mean.copy_(0.3 * torch.randn(shape, generator=generator))
                    norm.running_var.copy_(0.5 + torch.rand(shape, generator=generator))
        return module


def image(
    batch: int = 3, height: int = 4, width: int = 6, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Return a random map ``[batch, C, height, width]``."""
    generator = torch.Generator().manual_seed(2000 + seed)
    drawn = torch.randn(batch, VISUAL_DIM, height, width, generator=generator, dtype=torch.float64)
    return drawn.to(dtype)


def language(
    lengths: tuple[int, ...] = (5, 1, 3),
    *,
    words: int = WORDS,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Language:
    """Return random sentences of the given lengths, padded to ``words`` with random numbers."""
    generator = torch.Generator().manual_seed(3000 + seed)
    count = len(lengths)
    return Language(
        torch.randn(count, words, LANGUAGE_DIM, generator=generator, dtype=torch.float64).to(dtype),
        torch.arange(words) < torch.tensor(lengths)[:, None],
        torch.randn(count, LANGUAGE_DIM, generator=generator, dtype=torch.float64).to(dtype),
    )


def difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference relative to the largest number; infinity if one tensor is not finite."""
    one, other = one.detach(), other.detach()
    if not (one.isfinite().all() and other.isfinite().all()):
        return float("inf")
    size = max(float(one.abs().max()), float(other.abs().max()), 1e-12)
    return float((one - other).abs().max()) / size


def require_same(one: Tensor, other: Tensor, seen: str, remedy: str) -> None:
    """Raise `CheckFailed` with ``seen`` and the difference, unless both are equal within `TOLERANCE`."""
    share = difference(one, other)
    if share > TOLERANCE:
        amount = "and not all is finite" if share == float("inf") else f"by {share:.2g} of its size"
        raise CheckFailed(f"{seen} ({amount})", remedy)


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Return every layer whose statistics may follow the batch in training mode."""
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
