"""A sound fusion module, and modules whose output or declarations have one fault each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import (
    Choice,
    Citation,
    FusionModule,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
)


class Sound(FusionModule):
    """One hidden layer on a position and the mean of the words: the least module without a fault."""

    citation: ClassVar[Citation] = Citation("A toy", "Nobody", "tests", 2026, "")
    width: ClassVar[Width | None] = Width("hidden", step=4, minimum=4)
    listens: ClassVar[Listens] = "words"
    position_code: ClassVar[PositionCode] = "none"

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        return {"hidden": Choice((16, 32))}

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__()
        self.out_dim = visual_dim
        self.see = nn.Conv2d(visual_dim, hidden, 1)
        self.hear = nn.Linear(language_dim, hidden)
        self.answer = nn.Conv2d(hidden, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        answer: Tensor = self.answer(self.join(visual, self.heard(language)))
        return answer

    def heard(self, language: Language) -> Tensor:
        words: Tensor = self.hear(language.words) * language.mask[..., None]
        return words.sum(dim=1) / language.mask.sum(dim=1, keepdim=True)

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        return F.relu(self.see(visual) + heard[:, :, None, None])


class UnregisteredLayers(Sound):
    """Its layers stand in a plain list."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        self.layers = [nn.Linear(hidden, hidden) for _ in range(2)]

    def heard(self, language: Language) -> Tensor:
        heard = super().heard(language)
        for layer in self.layers:
            heard = layer(heard)
        return heard


class HiddenParameter(Sound):
    """A parameter lives in a closure, where no list of attributes shows it."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        scale = nn.Parameter(torch.ones(hidden))
        self.scaled = lambda heard: heard * scale

    def heard(self, language: Language) -> Tensor:
        scaled: Tensor = self.scaled(super().heard(language))
        return scaled


class BatchMixing(Sound):
    """Positions are normalised over the batch as well."""

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        return super().join(visual - visual.mean(dim=(0, 2, 3), keepdim=True), heard)


class TrainingBatchMixing(Sound):
    """The same, only while it trains."""

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        return super().join(visual - visual.mean(dim=0) if self.training else visual, heard)


class TransposedAttention(Sound):
    """Beside the right answer stands an attention map whose axes were exchanged."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        self.score = nn.Conv2d(hidden, 1, 1, bias=False)
        self.looked = nn.Conv2d(1, visual_dim, 1)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        joined = self.join(visual, self.heard(language))
        answer: Tensor = self.answer(joined) + visual + self.looked(self.laid_out(self.score(joined)))
        return answer

    def laid_out(self, scores: Tensor) -> Tensor:
        attention = scores.transpose(2, 3).flatten(1).softmax(dim=1)
        return attention.view_as(scores) / attention.amax(dim=1)[:, None, None, None]


class TransposedSquare(TransposedAttention):
    """The same, only where it can be done without a trace of it in the shape."""

    def laid_out(self, scores: Tensor) -> Tensor:
        attention = scores.flatten(1).softmax(dim=1).view_as(scores)
        attention = attention / attention.amax(dim=(2, 3), keepdim=True)
        return attention.transpose(2, 3) if scores.shape[2] == scores.shape[3] else attention


class TransposedMap(Sound):
    """The whole map is laid out column by column."""

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        joined = super().join(visual, heard)
        return joined.transpose(2, 3).reshape(joined.shape)


class IgnoredMask(Sound):
    """Padding is a word like others."""

    def heard(self, language: Language) -> Tensor:
        heard: Tensor = self.hear(language.words).mean(dim=1)
        return heard


class IgnoredLanguage(Sound):
    """What should come from the sentence is one learned vector."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        del self.hear
        self.constant = nn.Parameter(torch.randn(1, hidden))

    def heard(self, language: Language) -> Tensor:
        return self.constant


class UndeclaredInput(Sound):
    """It declares to listen to words and looks at the sentence vector too."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        self.glimpse = nn.Linear(language_dim, hidden)

    def heard(self, language: Language) -> Tensor:
        heard: Tensor = super().heard(language) + self.glimpse(language.sentence)
        return heard


class HostSync(Sound):
    """It waits for the length of the longest sentence, to cut the padding off."""

    def heard(self, language: Language) -> Tensor:
        longest = int(language.mask.sum(dim=1).max().item())
        return super().heard(
            Language(language.words[:, :longest], language.mask[:, :longest], language.sentence)
        )


class StateInForward(Sound):
    """A running mean of what it has seen so far enters the output."""

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 16) -> None:
        super().__init__(visual_dim, language_dim, hidden=hidden)
        self.register_buffer("seen", torch.zeros(hidden))

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        joined = super().join(visual, heard)
        self.seen: Tensor
        self.seen.lerp_(joined.detach().mean(dim=(0, 2, 3)), 0.1)
        return joined - self.seen[:, None, None]


class Remembers(Sound):
    """It keeps its last answer as an attribute, for a look at it later."""

    def heard(self, language: Language) -> Tensor:
        self.last = super().heard(language)
        return self.last


class WrongDtype(Sound):
    """Its answer is float32, whatever came in."""

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        return super().forward(visual, language).float()


class NanInFloat16(Sound):
    """Its epsilon is zero in float16, and zero by zero is no number."""

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        return super().join(visual / (visual.abs().amax(dim=1, keepdim=True) + 1e-8), heard)


class UnknownSetting(Sound):
    """It would search what the constructor does not take."""

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        return {"depth": Choice((1, 2))}


class ShrinkingMap(Sound):
    """A window without padding."""

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        joined = super().join(visual, heard)
        return F.max_pool2d(joined, 3, stride=1) if min(joined.shape[2:]) > 2 else joined


class AlwaysDropping(Sound):
    """Dropout that does not end with training."""

    def join(self, visual: Tensor, heard: Tensor) -> Tensor:
        return F.dropout(super().join(visual, heard), 0.2)
