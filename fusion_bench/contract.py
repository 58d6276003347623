"""What a fusion module gets, gives and declares: the only file of the harness that a module imports.

Shapes: ``B`` samples, ``T`` words, ``D`` language channels, ``C`` visual channels, ``H`` x ``W`` positions.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, eq=False)
class Language:
    """One batch of encoded sentences.

    Attributes:
        words: ``[B, T, D]``, one vector per word; rows of padding hold finite numbers without meaning.
        mask: ``[B, T]`` bool, True where a real word stands. Every row has at least one True (the
            tokenizer sees to it), so a masked softmax over words is always defined.
        sentence: ``[B, D]``, one vector per sentence.
    """

    words: Tensor
    mask: Tensor
    sentence: Tensor

    def to(self, *args: Any, **kwargs: Any) -> Language:
        """Move as ``Tensor.to`` does; the mask follows the device but stays boolean."""
        words, sentence = self.words.to(*args, **kwargs), self.sentence.to(*args, **kwargs)
        return Language(words, self.mask.to(words.device), sentence)


# Also makes it a pytree node, so that compile, vmap and export see the three tensors.
torch.export.register_dataclass(Language, serialized_type_name="fusion_bench.contract.Language")


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Visual maps from fine to coarse: ``maps[i]`` is ``[B, C_i, H_i, W_i]`` at ``strides[i]`` pixels a cell."""

    maps: tuple[Tensor, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a module listened to: word attention ``[B, T, H, W]``, kernels ``[B, G, k*k, H, W]`` if it builds any."""

    words: Tensor
    kernels: Tensor | None = None


@runtime_checkable
class Explains(Protocol):
    """Optional: a module that can show which words each position listened to."""

    def explain(self, visual: Tensor, language: Language) -> Explanation:
        """Explain one forward pass over ``visual`` ``[B, C, H, W]``."""
        ...


@dataclass(frozen=True)
class Citation:
    """Where a module was published. ``authors`` is short ("Perez et al."); ``url`` leads to the paper."""

    title: str
    authors: str
    venue: str
    year: int
    url: str

    def __str__(self) -> str:
        return f"{self.authors}, {self.venue} {self.year}"


@dataclass(frozen=True)
class Width:
    """The constructor argument that scales a module's cost: its ``step`` and its ``minimum``."""

    argument: str
    step: int = 1
    minimum: int = 1


@dataclass(frozen=True)
class Float:
    """A search range of real numbers, drawn on a logarithmic scale if ``log``."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Int:
    """A search range of whole numbers, both ends included."""

    low: int
    high: int
    step: int = 1
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """A search over named values."""

    values: tuple[str | int | float | bool | None, ...]


Space: TypeAlias = Float | Int | Choice
Listens: TypeAlias = Literal["words", "sentence", "both", "nothing"]
PositionCode: TypeAlias = Literal["none", "sine", "coordinates", "learned"]

_DECLARATIONS = ("citation", "width", "listens", "position_code", "search_space")


class FusionModule(nn.Module, ABC):
    """An image map and a sentence in, a map of the same height and width out.

    A concrete subclass declares ``citation``, ``width``, ``listens``, ``position_code`` and
    ``search_space``; a missing or wrong one is an error when the class is defined. A base class that is not to
    be used itself says ``class Base(FusionModule, abstract=True)``.

    Class attributes:
        citation: the paper.
        width: the argument that scales cost, or None if the module cannot be matched to a budget.
        listens: whether it reads the words, the sentence vector, both or nothing of the language.
        position_code: which position code it brings along itself.
        reads: the inputs that its output depends on; controls read less.
        trainable: False for a control whose parameters stay as drawn.
        modulates_backbone: True if its paper puts it inside the backbone; behind a frozen one it is a post-hoc
            adaptation, and reports say so.
        sentence_at_head: True for the one control that lets the head see the sentence instead.
    """

    citation: ClassVar[Citation]
    width: ClassVar[Width | None]
    listens: ClassVar[Listens]
    position_code: ClassVar[PositionCode]
    reads: ClassVar[frozenset[str]] = frozenset({"image", "language"})
    trainable: ClassVar[bool] = True
    modulates_backbone: ClassVar[bool] = False
    sentence_at_head: ClassVar[bool] = False

    out_dim: int

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if abstract:
            return
        declared = {name for base in cls.__mro__ if base is not FusionModule for name in vars(base)}
        missing = [name for name in _DECLARATIONS if name not in declared]
        if missing:
            raise TypeError(f"{cls.__qualname__} does not declare {', '.join(missing)}")
        wrong = [name for name, right in _right_declarations(cls).items() if not right]
        if wrong:
            written = ", ".join(f"{name} = {getattr(cls, name)!r}" for name in wrong)
            raise TypeError(f"{cls.__qualname__} declares {written}; see fusion_bench.contract.FusionModule")
        unknown = cls.reads - {"image", "language"}
        if unknown:
            raise TypeError(f"{cls.__qualname__}.reads names {sorted(unknown)}; known: 'image', 'language'")

    @classmethod
    @abstractmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        """The hyperparameters worth searching, by constructor argument."""

    @abstractmethod
    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """Fuse ``visual`` ``[B, visual_dim, H, W]`` with ``language`` into ``[B, out_dim, H, W]``."""

    def declared_cost(self, height: int, width: int, words: int) -> int | None:
        """The paper's own multiply-add formula for one sample, where it gives one; else None."""
        del height, width, words
        return None

    def multiply_adds(self, visual_dim: int, language_dim: int, height: int, width: int, words: int) -> int:
        """Multiply-adds of one forward pass of one sample, as `multiply_adds_of` counts them."""
        language = Language(
            torch.empty(1, words, language_dim, device="meta"),
            torch.ones(1, words, dtype=torch.bool, device="meta"),
            torch.empty(1, language_dim, device="meta"),
        )
        return multiply_adds_of(self, torch.empty(1, visual_dim, height, width, device="meta"), language)


def _right_declarations(cls: type[FusionModule]) -> Mapping[str, bool]:
    """Whether each declaration of a module is of its type."""
    return {
        "citation": isinstance(cls.citation, Citation),
        "width": cls.width is None or isinstance(cls.width, Width),
        "listens": cls.listens in get_args(Listens),
        "position_code": cls.position_code in get_args(PositionCode),
        "reads": isinstance(cls.reads, Set),
    }


class VisionLanguageNetwork(nn.Module, ABC):
    """An end-to-end network that language enters on the way up: an image and a sentence in, a pyramid out."""

    citation: ClassVar[Citation]
    out_dims: tuple[int, ...]

    @abstractmethod
    def forward(self, image: Tensor, language: Language) -> Pyramid:
        """Encode ``image`` ``[B, 3, H, W]`` under ``language``."""


class Tokenizer(Protocol):
    """Texts in, ids out. Without one of the encoder's own, it is the vocabulary of the training split."""

    def __len__(self) -> int:
        """How many ids there are; padding's, which is 0, counts."""
        ...

    def encode(self, texts: Sequence[str], longest: int | None = None) -> npt.NDArray[np.int64]:
        """Ids ``[N, T]``, padding last and 0; at most ``longest`` of a text, at least one."""
        ...

    def read(self, text: str, longest: int | None = None) -> tuple[tuple[str, bool], ...]:
        """What `encode` made of a text: each piece, and whether it is known (one that is not is *unknown*)."""
        ...


class TextEncoder(nn.Module, ABC):
    """Token ids in, `Language` out.

    Constructed as ``Encoder(vocabulary_size, **settings)``. A setting of type ``pathlib.Path`` is a file or a
    folder: a study writes its path, a cell holds its SHA-256, the constructor gets its place on this machine.

    Attributes:
        language_dim: channels of the words and of the sentence.
        vector_dim: channels of the vectors that `frozen_part` makes; None if `forward` starts from ids.
        note: what a report says of its words, where there is more to say than their number.
    """

    language_dim: int
    vector_dim: int | None = None
    note: str = ""

    @abstractmethod
    def forward(self, tokens: Tensor, mask: Tensor) -> Language:
        """Encode a batch.

        Args:
            tokens: ``[B, T]`` int64; ``[B, T, vector_dim]`` where there is a `frozen_part`.
            mask: ``[B, T]``, True at real words.
        """

    def tokenizer(self) -> Tokenizer | None:
        """Its own tokenizer; None to read ids of the words of the training split."""
        return None

    def frozen_part(self) -> nn.Module | None:
        """What makes vectors ``[B, T, vector_dim]`` of ids and mask, the same in every cell, or None.

        It is no part of the model: its vectors are computed once per text, cached, and handed to `forward`.
        """
        return None

    def meet(self, words: Sequence[str]) -> None:
        """Look at the words of ids 2, 3, ... (0 is padding, 1 unknown); once, before training.

        Not called where the encoder has a tokenizer of its own.
        """
        del words

    @classmethod
    def locate(cls, written: str) -> Path:
        """Where that lies which a study writes for a setting of type ``Path``, if no file has this path.

        Raises:
            FileNotFoundError: nowhere; the message says what to do.
        """
        raise FileNotFoundError(f"{written} does not exist")


class Head(nn.Module, ABC):
    """The fused map in, the task's raw output out; the same for every arm of a study.

    Constructed as ``Head(in_dim, outputs, sentence_dim=0, **settings)``; ``sentence_dim`` is not zero
    for the control `FusionModule.sentence_at_head` alone.
    """

    @abstractmethod
    def forward(self, fused: Tensor, sentence: Tensor | None) -> Tensor:
        """Map ``fused`` ``[B, in_dim, H, W]`` (and, for one control, ``sentence``) to the task's output."""


def multiply_adds_of(module: nn.Module, *inputs: Any) -> int:
    """Multiply-adds of one forward pass over ``inputs``, counted on the meta device in evaluation mode.

    Counted are matmul, convolution, attention, recurrent layers, FFT and operators with a registered
    formula; elementwise work, norms and softmax are not. A Fourier transform of ``n`` complex numbers is
    taken as ``5/2 n log2 n`` multiply-adds (half of the ``5 n log2 n`` operations of the radix-2 transform,
    also where ``n`` is no power of two), one from or to ``n`` real numbers as half of that.

    Args:
        module: left as it is; a copy is counted.
        inputs: tensors or `Language`, on any device; only shapes and types are used.
    """
    twin = copy.deepcopy(module).to("meta").eval().requires_grad_(False)
    on_meta = [value.to("meta") if hasattr(value, "to") else value for value in inputs]
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_fourier_formulas()) as counter:
        twin(*on_meta)
    return int(counter.get_total_flops()) // 2


def _fourier_formulas() -> dict[Any, Callable[..., int]]:
    """Operations of the transforms, for which torch's counter has no formula; shapes in, a number out."""

    def complex_to_complex(shape: Sequence[int], axes: Sequence[int], *_: Any, **__: Any) -> int:
        length = math.prod(shape[axis] for axis in axes)
        return round(5 * math.prod(shape) * math.log2(length))

    def real_to_complex(shape: Sequence[int], axes: Sequence[int], *_: Any, **__: Any) -> int:
        return complex_to_complex(shape, axes) // 2

    def complex_to_real(
        _: Sequence[int], axes: Sequence[int], *__: Any, out_shape: Sequence[int], **___: Any
    ) -> int:
        return complex_to_complex(out_shape, axes) // 2

    aten = torch.ops.aten
    return {
        aten._fft_c2c: complex_to_complex,
        aten._fft_r2c: real_to_complex,
        aten._fft_c2r: complex_to_real,
    }


@dataclass(frozen=True)
class Cost:
    """Size of a part of a model: parameters and multiply-adds of one forward pass of one sample."""

    parameters: int = 0
    multiply_adds: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.parameters + other.parameters, self.multiply_adds + other.multiply_adds)
