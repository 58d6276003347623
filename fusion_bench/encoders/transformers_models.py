"""Text models of Hugging Face's ``transformers`` and their tokenizers, from a folder of ``save_pretrained``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fusion_bench.errors import WeightsError
from fusion_bench.samples.vocabulary import PAD

_UNSTATED = 1e18
"""A tokenizer without a stated length states 1e30."""
_POSITIONS = re.compile(r"(^|\.)(position_embeddings?|embed_positions|wpe)$")
"""The names of the tables of absolute positions in ``transformers``."""


class HuggingFaceTokenizer:
    """A pretrained tokenizer whose ids are increased by one, so that id 0 is padding for every model.

    A text is cut to the longest text of the model: the smallest of the tokenizer's stated length, the number of
    positions of the model's position embeddings, and the model's stated number of positions. Many tokenizers state no
    length, and some state a longer one than their model can read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._tokenizer = folder, load_pretrained("AutoTokenizer", folder)
        with torch.device("meta"):
            words = PretrainedWords(folder)
        self._embeddings = words.embeddings
        stated = self._tokenizer.model_max_length  # 1e30 if the tokenizer states none
        limits = [words.longest, stated if stated < _UNSTATED else None]
        self._longest = min((limit for limit in limits if limit is not None), default=None)

    def __len__(self) -> int:
        return len(self._tokenizer) + 1

    def encode(self, texts: Sequence[str], longest: int | None = None) -> npt.NDArray[np.int64]:
        """Return ids ``[N, T]`` int64: the model's ids plus one, with its special tokens; see `Tokenizer`.

        Raises:
            WeightsError: the model has no embedding of a token, because the tokenizer is that of another model.
        """
        rows = [self._ids(text, longest) for text in texts]
        for text, ids in zip(texts, rows, strict=True):
            if max(ids) >= self._embeddings:
                token = self._tokenizer.convert_ids_to_tokens(max(ids))
                raise WeightsError(
                    f"{self._folder}: the tokenizer gives the token {token!r} with the number {max(ids)} in "
                    f"{shorten(text, 80)!r}, but the model has embeddings of {self._embeddings} tokens; save the "
                    "tokenizer of this model there"
                )
        encoded = np.full((len(rows), max(map(len, rows), default=1)), PAD, dtype=np.int64)
        for row, ids in zip(encoded, rows, strict=True):
            row[: len(ids)] = np.array(ids) + 1
        return encoded

    def read(self, text: str, longest: int | None = None) -> tuple[tuple[str, bool], ...]:
        """Return the tokens of a text as the model receives them, each with True if it is known."""
        ids = self._ids(text, longest)
        special = self._tokenizer.unk_token_id
        pieces = self._tokenizer.convert_ids_to_tokens(ids)
        return tuple((piece, number != special) for piece, number in zip(pieces, ids, strict=True))

    def _ids(self, text: str, longest: int | None) -> list[int]:
        limit = min((length for length in (longest, self._longest) if length is not None), default=None)
        ids: list[int] = self._tokenizer(text, truncation=limit is not None, max_length=limit)["input_ids"]
        if limit is not None and len(ids) > limit:  # the tokenizer then does not cut at all
            raise WeightsError(
                f"a longest text of {limit} leaves no room for a word beside the special tokens of {self._folder}; "
                "write a larger data.longest_text"
            )
        return ids or [self._tokenizer.unk_token_id or 0]


class PretrainedWords(nn.Module):
    """A module that maps the ids of `HuggingFaceTokenizer` to the states of the last layer.

    Attributes:
        longest: the number of tokens of the longest text that the model can read; None if there is no limit.
        embeddings: the number of tokens of which the model has an embedding.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        net = _load_model(folder)
        if net.config.is_encoder_decoder:
            net = net.get_encoder()
        self.net: nn.Module = getattr(net, "text_model", net)  # for CLIP and similar models
        self.embeddings: int = self.net.get_input_embeddings().num_embeddings
        stated = getattr(net.config.get_text_config(), "max_position_embeddings", None)
        limits = [*_position_counts(self.net), *([stated] if stated and stated > 0 else [])]
        self.longest: int | None = min(limits, default=None)

    def extra_repr(self) -> str:
        """Return what the output depends on besides the weights; it is part of the cache key of the vectors."""
        return f"transformers {version('transformers')}"

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return states ``[B, T, D]`` of ids ``[B, T]`` and mask ``[B, T]``."""
        ids = (tokens - 1).clamp_min(0)
        real = None if ids.is_meta else mask.long()  # counting multiply-adds: every word counts as real
        words: Tensor = self.net(input_ids=ids, attention_mask=real).last_hidden_state
        return words


def _position_counts(net: nn.Module) -> Iterator[int]:
    """Yield the number of positions of each table of absolute position embeddings.

    Models of RoBERTa's family keep the rows up to that of padding for padding, those of BART's family the first two.
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.Embedding) and _POSITIONS.search(name):
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            yield module.num_embeddings - reserved - int(getattr(module, "offset", 0))


def _load_model(folder: Path) -> Any:
    """Return the model of a folder with all of its weights; on the meta device, the architecture without weights."""
    if torch.get_default_device().type == "meta":
        return _import_transformers().AutoModel.from_config(load_pretrained("AutoConfig", folder))
    net, loading = load_pretrained("AutoModel", folder, use_safetensors=True, output_loading_info=True)
    missing = sorted(
        key for key in loading["missing_keys"] if "pooler" not in key
    )  # the pooler's output is not used
    if missing:
        raise WeightsError(
            f"{folder} is incomplete: {len(missing)} weights of its model are missing, such as {missing[0]}"
        )
    return net


def load_pretrained(kind: str, folder: Path, **settings: Any) -> Any:
    """Return ``transformers.<kind>`` loaded from a folder, without the network and without pickle.

    Raises:
        WeightsError: ``transformers`` is not installed, or the folder does not contain such a part of a model.
    """
    try:
        return getattr(_import_transformers(), kind).from_pretrained(
            folder, local_files_only=True, **settings
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{folder} cannot be read as a Hugging Face model ({kind}): {reason}") from error


def _import_transformers() -> Any:
    """Return the module ``transformers`` without its warnings and progress bars."""
    try:
        transformers = import_module("transformers")  # the extra ``hf``; takes seconds
    except ModuleNotFoundError as error:
        raise WeightsError(
            "the text encoder huggingface needs the package transformers: pip install 'laconv-fusion-bench[hf]'"
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
