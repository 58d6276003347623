"""Any encoder of words from Hugging Face's ``transformers``, with its own tokenizer; frozen or trained."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
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
from fusion_bench.samples.vocabulary import PAD

_DOWNLOAD = "hub:"
_NEEDED = ["*.json", "*.txt", "*.model", "*.safetensors"]


class HuggingFaceTokenizer:
    """A pretrained tokenizer whose ids are moved up by one, so that 0 is padding whatever the model's is."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = _loaded("AutoTokenizer", folder)

    def __len__(self) -> int:
        return len(self._tokenizer) + 1

    def encode(self, texts: Sequence[str], longest: int | None = None) -> npt.NDArray[np.int64]:
        """Ids ``[N, T]``, the model's own plus one, its special tokens among them; see `Tokenizer`."""
        rows = [self._ids(text, longest) for text in texts]
        encoded = np.full((len(rows), max(map(len, rows), default=1)), PAD, dtype=np.int64)
        for row, ids in zip(encoded, rows, strict=True):
            row[: len(ids)] = np.array(ids) + 1
        return encoded

    def read(self, text: str, longest: int | None = None) -> tuple[tuple[str, bool], ...]:
        """The pieces of a text as the model gets them, and whether each is known."""
        ids = self._ids(text, longest)
        special = self._tokenizer.unk_token_id
        pieces = self._tokenizer.convert_ids_to_tokens(ids)
        return tuple((piece, number != special) for piece, number in zip(pieces, ids, strict=True))

    def _ids(self, text: str, longest: int | None) -> list[int]:
        most = min(longest or self._tokenizer.model_max_length, self._tokenizer.model_max_length)
        ids: list[int] = self._tokenizer(text, truncation=True, max_length=most)["input_ids"]
        return ids or [self._tokenizer.unk_token_id or 0]


class PretrainedWords(nn.Module):
    """The words' states after the last layer, of ids as `HuggingFaceTokenizer` gives them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        net = _model(folder)
        if net.config.is_encoder_decoder:
            net = net.get_encoder()
        self.net: nn.Module = getattr(net, "text_model", net)  # of CLIP and its kind

    def extra_repr(self) -> str:
        """What its numbers depend on beside its weights; a cache of its vectors is keyed by it."""
        return f"transformers {version('transformers')}"

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """``[B, T]`` ids and ``[B, T]`` mask -> ``[B, T, D]``."""
        ids = (tokens - 1).clamp_min(0)
        real = None if ids.is_meta else mask.long()  # counting multiply-adds: every word counts as real
        words: Tensor = self.net(input_ids=ids, attention_mask=real).last_hidden_state
        return words


class HuggingFaceEncoder(TextEncoder):
    """A pretrained encoder of words (BERT, the text side of CLIP ...) from ``transformers``, the extra ``hf``.

    Frozen, its words are computed once per different text and cached as float16: texts x tokens x channels x
    2 bytes on the disk. The tokens are those of its own tokenizer, special ones included, and
    ``data.longest_text`` counts them.

    Args:
        vocabulary_size: not used; the model has its own.
        model: a folder that ``save_pretrained`` wrote for model and tokenizer; or a name in the local cache of
            the Hugging Face Hub, or ``hub:NAME`` to download what is not there. A cell knows it by content.
        frozen: keep the model as it is; else it is trained with the arm.
        sentence: ``mean`` of the real tokens, or the state of the ``first`` (BERT's ``[CLS]``) or ``last`` one
            (CLIP's end of text).

    Raises:
        WeightsError: ``transformers`` is not installed, or the folder holds no such model.
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
        config = _loaded("AutoConfig", model)
        words = config.get_text_config()
        self.language_dim = int(words.hidden_size)
        self.vector_dim = self.language_dim if frozen else None
        self.model, self.sentence = model, sentence
        self.net = None if frozen else PretrainedWords(model)
        state = "frozen, its words computed once" if frozen else "trained from its weights on"
        self.note = (
            f"a {config.model_type} model with {words.vocab_size:,} tokens of its own tokenizer, {state}"
        )

    def tokenizer(self) -> HuggingFaceTokenizer:
        """The model's own."""
        return HuggingFaceTokenizer(self.model)

    def frozen_part(self) -> nn.Module | None:
        """The whole model, if it is frozen."""
        return PretrainedWords(self.model).requires_grad_(False).eval() if self.net is None else None

    def forward(self, tokens: Tensor, mask: Tensor) -> Language:
        """Encode ids ``[B, T]``, or take their vectors ``[B, T, D]``. Padding rows of words are zero."""
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
        """The folder of a model in the local cache of the Hub; ``hub:NAME`` downloads it first.

        Raises:
            FileNotFoundError: it is neither here nor to be had.
        """
        name, online = written.removeprefix(_DOWNLOAD), written.startswith(_DOWNLOAD)
        try:
            return Path(
                huggingface_hub.snapshot_download(name, local_files_only=True, allow_patterns=_NEEDED)
            )
        except (LocalEntryNotFoundError, ValueError, OSError) as error:
            if not online:
                raise FileNotFoundError(
                    f"{written!r} is neither a folder nor a model in the local cache of the Hugging Face Hub; "
                    f"write {_DOWNLOAD}{written} to download it"
                ) from error
        if constants.HF_HUB_OFFLINE or not is_reachable(constants.ENDPOINT):
            raise FileNotFoundError(
                f"{name!r} is not in the local cache and the Hugging Face Hub cannot be reached; write the path "
                "of a folder with the model instead"
            )
        try:
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=_NEEDED))
        except (HfHubHTTPError, ValueError, OSError) as error:
            said = str(error).strip().partition("\n")[0]
            raise FileNotFoundError(f"{name!r} cannot be downloaded: {said}") from error


def _model(folder: Path) -> Any:
    """The model of a folder with all of its weights; where only its shapes are wanted, without any."""
    if torch.get_default_device().type == "meta":
        return _library().AutoModel.from_config(_loaded("AutoConfig", folder))
    net, told = _loaded("AutoModel", folder, use_safetensors=True, output_loading_info=True)
    lacking = sorted(key for key in told["missing_keys"] if "pooler" not in key)  # what it makes is not read
    if lacking:
        raise WeightsError(f"{folder} lacks {len(lacking)} weights of its own model, such as {lacking[0]}")
    return net


def _loaded(kind: str, folder: Path, **settings: Any) -> Any:
    """``transformers.<kind>`` with what a folder holds; never over the network, never unpickled."""
    try:
        return getattr(_library(), kind).from_pretrained(folder, local_files_only=True, **settings)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        said = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{folder} cannot be read as a Hugging Face model ({kind}): {said}") from error


def _library() -> Any:
    """``transformers``, told to be quiet."""
    try:
        transformers = import_module("transformers")  # the extra ``hf``; takes seconds
    except ModuleNotFoundError as error:
        raise WeightsError(
            "the text encoder huggingface needs the package transformers: pip install 'laconv-fusion-bench[hf]'"
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers
