"""Modules with one fault each: the check meant for it finds it, and no other check is drawn in."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.checking.kit import CHECKS, CRASHED, CheckResult, Checkup
from fusion_bench.checking.subject import CheckFailed, Subject
from fusion_bench.checking.toy import learns
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
from fusion_bench.registries import MODULES


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


THE_TEN = {
    UnregisteredLayers: "registered",
    BatchMixing: "independent",
    TransposedAttention: "places",
    IgnoredMask: "padding",
    IgnoredLanguage: "reacts",
    UndeclaredInput: "ignores",
    HostSync: "host_sync",
    StateInForward: "stateless",
    WrongDtype: "dtype",
    NanInFloat16: "half",
}
FURTHER = {
    HiddenParameter: "registered",
    TrainingBatchMixing: "independent",
    TransposedSquare: "places",
    TransposedMap: "places",
    Remembers: "stateless",
    FalseControl: "ignores",
    UnknownSetting: "declarations",
    ShrinkingMap: "shape",
    AlwaysDropping: "deterministic",
    Detached: "trained",
    Rounded: "trained",
    FixedParameter: "trained",
    BareRoot: "finite_at_zero",
    WrongBackward: "gradcheck",
    UnsavedDraw: "saved",
    LeftBehind: "moved",
    MadeOnTheProcessor: "moved",
    TwoGraphs: "compiles",
    NotExported: "exports",
    Uncounted: "counted",
    WrongFormula: "declared_cost",
    IdleWidth: "width",
}


def found(module: type[FusionModule]) -> dict[str, CheckResult]:
    return {result.check: result for result in Checkup(module).results()}


def test_a_sound_module_passes_every_check() -> None:
    results = found(Sound)
    assert {name for name, result in results.items() if result.status == "fail"} == set()
    assert {name for name, result in results.items() if result.status == "skip"} == {"declared_cost"}


@pytest.mark.parametrize(
    ("module", "check"), THE_TEN.items(), ids=lambda case: getattr(case, "__name__", case)
)
def test_a_fault_is_found_by_its_own_check_and_by_no_other(module: type[FusionModule], check: str) -> None:
    results = found(module)
    assert {name for name, result in results.items() if result.status == "fail"} == {check}
    assert results[check].detail
    assert results[check].remedy


@pytest.mark.parametrize(
    ("module", "check"), FURTHER.items(), ids=lambda case: getattr(case, "__name__", case)
)
def test_further_faults_are_found(module: type[FusionModule], check: str) -> None:
    result = Checkup(module).result(check)
    assert result.status == "fail", result
    assert result.remedy != CRASHED, result


def test_inputs_that_never_meet_are_not_learnt_together() -> None:
    with pytest.raises(CheckFailed, match="not learnt in 100 steps"):
        learns(Subject(LinearSum, "LinearSum"), seeds=(0,), steps=100)


def test_one_answer_for_the_whole_image_counts_as_learnt() -> None:
    assert learns(Subject(Pooling, "Pooling"), seeds=(0,), steps=200).startswith("per image")
    assert Checkup(Pooling).result("places").detail.startswith("it pools")


def test_a_bias_that_cancels_out_is_told_and_no_fault() -> None:
    result = Checkup(CancelledBias).result("trained")
    assert (result.status, result.detail) == ("pass", "8 parameters; gate.bias cancels out of the output")


def test_a_crash_in_a_check_is_a_failure_of_the_module() -> None:
    result = Checkup(Crashing).result("stateless")
    assert (result.status, result.remedy) == ("fail", CRASHED)
    assert result.detail == "ZeroDivisionError: in training"


def test_a_scrambled_attention_map_beside_a_right_residual_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault of popular ports, put into a registered module that mixes all positions: H and W exchanged."""
    kind = MODULES.load("stacked_attention")
    place = importlib.import_module(kind.__module__)

    def column_by_column(tokens: Tensor, visual: Tensor) -> Tensor:
        exchanged = tokens.transpose(1, 2).unflatten(2, visual.shape[:1:-1])  # [B, C, W, H]
        return exchanged.transpose(2, 3).contiguous()

    monkeypatch.setattr(place, "as_map", column_by_column)
    assert Checkup(kind).result("places").status == "fail"


def test_every_check_finds_something() -> None:
    assert {*THE_TEN.values(), *FURTHER.values(), "learns"} == {check.name for check in CHECKS}


def test_what_builds_on_a_failed_check_is_skipped_and_says_so() -> None:
    result = Checkup(IgnoredMask).result("learns")
    assert (result.status, result.blocked) == ("skip", True)
    assert result.detail == "means nothing without padding"
