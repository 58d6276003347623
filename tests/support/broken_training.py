"""Modules with one fault each in their gradients, devices, graphs, costs or in what they can learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from broken_modules import Sound
from fusion_bench.contract import (
    Citation,
    FusionModule,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)


class Detached(Sound):
    """Half of what it knows of the words is cut off from the loss."""

    def heard(self, language: Language) -> Tensor:
        return super().heard(language).detach()


class Rounded(Sound):
    """A gate that is open or shut: its slope is zero everywhere."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        self.gate = nn.Parameter(torch.randn(hidden))

    def heard(self, language: Language) -> Tensor:
        return super().heard(language) * self.gate.sign()


class FixedParameter(Sound):
    """What is never trained stands among the parameters."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        self.signs = nn.Parameter(torch.randn(hidden).sign(), requires_grad=False)

    def heard(self, language: Language) -> Tensor:
        return super().heard(language) * self.signs


class BareRoot(Sound):
    """A signed square root with an infinite slope at zero."""

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        return super().join(visual.sign() * visual.abs().sqrt(), heard)


class _HalfBackward(torch.autograd.Function):
    """The identity, with half of its gradient lost."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2


class WrongBackward(Sound):
    """A backward written by hand, and wrong."""

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        joined: Tensor = _HalfBackward.apply(super().join(visual, heard))
        return joined


class UnsavedDraw(Sound):
    """What it drew when it was built is not in its state."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        self.register_buffer("signs", torch.randn(hidden), persistent=False)

    def heard(self, language: Language) -> Tensor:
        self.signs: Tensor
        return super().heard(language) * self.signs


class LeftBehind(Sound):
    """A constant that stays on the processor where it was made."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        self.table = torch.linspace(0, 1, hidden)

    def heard(self, language: Language) -> Tensor:
        return super().heard(language) * self.table.to(language.words.dtype)


class MadeOnTheProcessor(Sound):
    """A constant that every forward makes on the processor."""

    def heard(self, language: Language) -> Tensor:
        heard = super().heard(language)
        return heard * torch.linspace(0, 1, heard.shape[1], dtype=heard.dtype)


class TwoGraphs(Sound):
    """It breaks the graph."""

    def heard(self, language: Language) -> Tensor:
        torch._dynamo.graph_break()
        return super().heard(language)


class NotExported(Sound):
    """It refuses to be exported."""

    def heard(self, language: Language) -> Tensor:
        if torch.compiler.is_exporting():
            raise RuntimeError("not for export")
        return super().heard(language)


class Uncounted(FusionModule):
    """A product with a matrix, written as elementwise work."""

    citation: ClassVar[Citation] = Sound.citation
    width: ClassVar[Width | None] = None
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        return {}

    def __init__(self, visual_dim: int, language_dim: int) -> None:
        super().__init__()
        self.out_dim = visual_dim
        self.matrix = nn.Parameter(torch.randn(language_dim, visual_dim) / language_dim)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        heard = (language.sentence[:, :, None] * self.matrix).sum(dim=1)
        return visual * heard[:, :, None, None]


class WrongFormula(Sound):
    """Its formula counts every product twice."""

    def declared_cost(self, height: int, width: int, words: int) -> int | None:
        return 2 * self.multiply_adds(self.see.in_channels, self.hear.in_features, height, width, words)


class IdleWidth(Sound):
    """Its width knob turns nothing."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=16)


class LinearSum(Sound):
    """Both inputs are read and added, and never meet."""

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        joined: Tensor = self.see(visual) + heard[:, :, None, None]
        return joined


class FalseControl(Sound):
    """It passes for a control that reads nothing of the language, though it does."""

    reads: ClassVar[frozenset[str]] = frozenset({"image"})
    listens: ClassVar[Listens] = "nothing"


class CancelledBias(Sound):
    """No fault, though worth knowing: a bias that a softmax takes out again."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        self.gate = nn.Conv2d(hidden, 1, 1)

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        joined = super().join(visual, heard)
        return joined * (1 + self.gate(joined).flatten(2).softmax(dim=2).view_as(joined[:, :1]))


class Pooling(Sound):
    """No fault either: one answer for the whole image, laid down everywhere."""

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        answer = super().forward(visual.mean(dim=(2, 3), keepdim=True), language)
        return answer.expand(-1, -1, *visual.shape[2:])


class Crashing(Sound):
    """It cannot be trained."""

    def heard(self, language: Language) -> Tensor:
        if self.training:
            raise ZeroDivisionError("in training")
        return super().heard(language)
