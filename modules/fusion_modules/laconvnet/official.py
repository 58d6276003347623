"""The authors' complete networks: text encoder, visual encoder, neck and head, with their released weights.

Luo, Zhou, Sun, Wu, Gao, Ji, "Towards Language-guided Visual Recognition via Dynamic Convolutions",
IJCV 132, 2024 (arXiv 2110.08797).

    Y = text(tokens)
    X_1 ... X_5 = visual(image, Y)
    F, M, L = neck(X_3, X_4, X_5)
    box = head(L)                                           detection
    mask = head(F'),  F' the finest of neck'(F, M, L)       segmentation; neck' has only a top-down path

Symbols: ``Y`` the words ``[B, T, 512]``; ``X_i`` the maps ``[B, C_i, H / 2^i, W / 2^i]``; ``F``, ``M``, ``L`` the
fine, middle and coarse map. The weights expect images with the preprocessing of the authors: RGB divided by 255
without further normalisation (no ImageNet mean), letterboxed to 416 x 416 with grey 127; and sentences of 15 tokens
from the vocabulary of their data set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusion_bench.contract import Language
from fusion_bench.errors import WeightsError
from fusion_modules.laconvnet.checkpoint import Checkpoint, CheckpointTask, NetworkSize, read_checkpoint
from fusion_modules.laconvnet.heads import DetectionHead, SegmentationHead
from fusion_modules.laconvnet.language import LaConvNetText
from fusion_modules.laconvnet.names import official_name, our_name
from fusion_modules.laconvnet.neck import TopDown
from fusion_modules.laconvnet.network import LaConvNet, LaConvNetB, LaConvNetS

_EMBEDDING = "lang_encoder.embedding.weight"
_COUNTER = "num_batches_tracked"
_NETWORKS: Mapping[NetworkSize, type[LaConvNet]] = {"s": LaConvNetS, "b": LaConvNetB}


class OfficialLaConvNet(nn.Module):
    """The authors' network, which predicts a box or a mask from an image and a sentence.

    Args:
        variant: "s" or "b".
        task: "det" for one box per image, or "seg" for one mask.
        words: number of rows of the embedding.

    Attributes:
        vocabulary: the word of each row of the embedding; None if unknown.
        epoch: number of epochs of training; None if unknown.
    """

    def __init__(self, variant: NetworkSize, task: CheckpointTask, words: int) -> None:
        super().__init__()
        self.variant: NetworkSize = variant
        self.task: CheckpointTask = task
        self.vocabulary: tuple[str, ...] | None = None
        self.epoch: int | None = None
        self.text = LaConvNetText(words)
        self.network = _NETWORKS[variant](self.text.language_dim)
        fine, middle, coarse = self.network.out_dims
        self.mask_neck = TopDown((fine, middle, coarse)) if task == "seg" else None
        self.head = SegmentationHead(fine) if task == "seg" else DetectionHead(coarse)

    def forward(self, images: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        """Predict the box or mask of the object that a sentence refers to. Gradients are tracked as usual.

        Args:
            images: ``[B, 3, H, W]``, RGB in [0, 1], in the type of the weights; sides are multiples of 32.
            tokens: ``[B, T]``, integer row numbers of the embedding; 0 is padding. Each sentence has at least one
                word.

        Returns:
            ``{"box": [B, 5]}``: x1, y1, x2, y2 in input pixels (not clipped to the image) and the score, a
            probability; or ``{"mask": [B, H, W]}``, bool.

        Raises:
            ValueError: the shapes do not fit, a token is not a row of the embedding, or a sentence is empty.
        """
        pyramid = self.network(images, self._encode_text(images, tokens))
        if self.mask_neck is None:
            return {"box": self.head(pyramid.maps[-1])}
        return {"mask": self.head(self.mask_neck(pyramid.maps)[0])}

    def features(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return the five maps of the visual encoder, ``[B, C_i, H / 2^i, W / 2^i]`` for i = 1 ... 5.

        Args:
            images: ``[B, 3, H, W]``, as in `forward`.
            tokens: ``[B, T]``, as in `forward`.

        Raises:
            ValueError: as in `forward`.
        """
        maps: tuple[Tensor, ...] = self.network.visual(images, self._encode_text(images, tokens))
        return maps

    def _encode_text(self, images: Tensor, tokens: Tensor) -> Language:
        """Check both inputs and return the encoded sentences.

        Raises:
            ValueError: as in `forward`.
        """
        if images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be [B, 3, H, W], not {list(images.shape)}")
        integers = tokens.dtype in {torch.int32, torch.int64}
        if tokens.dim() != 2 or not integers or len(tokens) != len(images):
            raise ValueError(
                f"tokens must be integers [B, T] for {len(images)} images, not {tokens.dtype} {list(tokens.shape)}"
            )
        real = tokens != 0
        if not tokens.is_meta:
            self._check_words(tokens, real)
        language: Language = self.text(tokens, real)
        return language

    def _check_words(self, tokens: Tensor, real: Tensor) -> None:
        """Raise ValueError unless every token is a row of the embedding and every sentence has a word."""
        rows = self.text.embedding.num_embeddings
        if ((tokens < 0) | (tokens >= rows)).any():
            raise ValueError(
                f"tokens must be row numbers of the embedding, 0 to {rows - 1}; at least one of them is not"
            )
        if not real.any(dim=1).all():
            raise ValueError(
                "each sentence must have at least one word; a row of tokens holds only padding (0)"
            )


def load_official(
    source: str | PathLike[str] | Mapping[str, Any],
    vocabulary: Sequence[str] | str | PathLike[str] | None = None,
) -> OfficialLaConvNet:
    """Build the network of a checkpoint, in evaluation mode; on the CPU if the checkpoint is a file.

    Loading is strict: each tensor of the checkpoint is used, and each tensor of the network comes from the
    checkpoint, in its type. Variant and task follow from the names of the tensors. Tensors are copied.

    Args:
        source: a checkpoint of the authors, a file from ``fusion-bench convert laconvnet``, or a state_dict.
        vocabulary: the word of each row of the embedding: a list, or a file with one word per line. Without it the
            meaning of each row is unknown to the network, and the caller must know it.

    Raises:
        WeightsError: the source is not a checkpoint of LaConvNet; or a tensor is missing, unused or of another shape
            or type (all differences are listed); or the vocabulary does not fit.
    """
    checkpoint = read_checkpoint(source)
    rows = checkpoint.weights.get(_EMBEDDING)
    with torch.device("meta"):  # allocated once, by the checkpoint's own tensors
        model = OfficialLaConvNet(
            checkpoint.variant, checkpoint.task, len(rows) if rows is not None and rows.dim() else 1
        )
    expected = {official_name(name) or name: value for name, value in model.state_dict().items()}
    _check_fit(checkpoint, expected)
    weights = {
        our_name(name) or name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in checkpoint.weights.items()
    }
    model.load_state_dict(weights, assign=True)
    model.vocabulary = _vocabulary(checkpoint, vocabulary)
    model.epoch = checkpoint.epoch
    return model.eval()


def _check_fit(checkpoint: Checkpoint, expected: Mapping[str, Tensor]) -> None:
    """Compare the names, shapes and types of the tensors with those of the network.

    Raises:
        WeightsError: at least one tensor differs; the message lists every difference.
    """
    found = checkpoint.weights
    common = [name for name in expected if name in found]
    floats = Counter(found[name].dtype for name in common if not name.endswith(_COUNTER))
    common_type = next((dtype for dtype, _ in floats.most_common() if dtype.is_floating_point), torch.float32)
    shapes = [
        f"{name} is {list(found[name].shape)}, expected {list(expected[name].shape)}"
        for name in common
        if found[name].shape != expected[name].shape
    ]
    types = [
        f"{name} is {found[name].dtype}, expected {dtype}"
        for name, dtype in (
            (name, torch.int64 if name.endswith(_COUNTER) else common_type) for name in common
        )
        if found[name].dtype != dtype
    ]
    differences = [
        *(f"missing: {layer}" for layer in _group_by_layer(name for name in expected if name not in found)),
        *(f"unused: {layer}" for layer in _group_by_layer(name for name in found if name not in expected)),
        *(f"shape: {line}" for line in shapes),
        *(f"type: {line}" for line in types),
    ]
    if differences:
        raise WeightsError(
            f"{checkpoint.origin} does not fit LaConvNet-{checkpoint.variant.upper()} {checkpoint.task}, so nothing "
            "was loaded; these tensors differ from the authors' network:\n  " + "\n  ".join(differences)
        )


def _group_by_layer(names: Iterable[str]) -> list[str]:
    """Return one entry per layer, such as ``head.stems.0.bn.{weight,bias}``, to keep a long list readable."""
    layers: dict[str, list[str]] = {}
    for name in names:
        layer, dot, tensor = name.rpartition(".")
        layers.setdefault(layer + dot, []).append(tensor)
    return [
        layer + (tensors[0] if len(tensors) == 1 else "{" + ",".join(tensors) + "}")
        for layer, tensors in layers.items()
    ]


def _vocabulary(
    checkpoint: Checkpoint, given: Sequence[str] | str | PathLike[str] | None
) -> tuple[str, ...] | None:
    """Return the word of each row of the embedding; None if unknown.

    Raises:
        WeightsError: the vocabulary does not fit the embedding or the checkpoint.
    """
    if given is None:
        words = checkpoint.vocabulary
    else:
        words = read_vocabulary(given) if isinstance(given, str | PathLike) else tuple(given)
    if words is None:
        return None
    rows = len(checkpoint.weights[_EMBEDDING])
    if len(words) != rows:
        raise WeightsError(
            f"the vocabulary has {len(words)} words and the embedding of {checkpoint.origin} has {rows} rows; give "
            "the word list of its training (the first three words are PAD, UNK and CLS)"
        )
    repeated = [word for word, count in Counter(words).items() if count > 1]
    if repeated:
        raise WeightsError(
            f"the vocabulary repeats {len(repeated)} words ({repeated[0]!r}, ...); each row must be a different word"
        )
    if checkpoint.vocabulary not in {None, words}:
        raise WeightsError(
            f"the vocabulary differs from the one that {checkpoint.origin} was converted with; do not give one"
        )
    return words


def read_vocabulary(path: str | PathLike[str]) -> tuple[str, ...]:
    """Return the words of a file with one word per line.

    Raises:
        WeightsError: the file cannot be read as UTF-8 text, or a line is empty.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"the vocabulary {path} cannot be read as UTF-8 text: {error}") from error
    words = tuple(line.strip() for line in text.removesuffix("\n").split("\n"))
    if "" in words:
        raise WeightsError(
            f"the vocabulary {path} has no word in line {words.index('') + 1}; write one word per line"
        )
    return words
