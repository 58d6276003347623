"""Tiny pretrained models with random weights and a word tokenizer, in folders of ``save_pretrained``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

WORDS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "is", "it", "red", "green", "?")
DIM = 16
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
}
_BART = {"d_model": DIM, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
_BART |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
_BART |= {"vocab_size": len(WORDS), "max_position_embeddings": 12}
_GPT2 = {"vocab_size": len(WORDS), "n_embd": DIM, "n_layer": 1, "n_head": 2, "n_positions": 12}
_T5 = {"vocab_size": len(WORDS), "d_model": DIM, "d_kv": 8, "d_ff": 8, "num_layers": 1, "num_heads": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "roberta": ("Roberta", {**SIZES, "pad_token_id": 3}, 8),  # positions start behind that of padding
    "mpnet": ("MPNet", SIZES, 10),
    "bart": ("Bart", _BART, 12),  # two rows more than positions
    "gpt2": ("GPT2", _GPT2, 12),
    "llama": ("Llama", SIZES, 12),  # rotary positions
    "t5": ("T5", _T5, None),  # relative positions
}
"""The class, the configuration and the longest text of models with other position codes than BERT."""


def save_tiny(kind: str, folder: Path, **tokenizer: Any) -> Path:
    """Save a ``bert``, a ``clip_text_model``, a full ``clip`` or a model of `FAMILIES` in a folder.

    ``tokenizer`` changes the settings of the tokenizer; its ``model_max_length`` is that of the model by default, and
    no length is stated if it is None. The test is skipped without transformers.
    """
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    transformers.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = _net(transformers, kind)
    net.save_pretrained(folder)
    _tokenizer(transformers, **tokenizer).save_pretrained(folder)
    return folder


def _net(transformers, kind):  # type: ignore[no-untyped-def]
    if kind in FAMILIES:
        name, settings, _ = FAMILIES[kind]
        return getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**settings))
    if kind == "bert":
        return transformers.BertModel(transformers.BertConfig(**SIZES))
    text = transformers.CLIPTextConfig(**SIZES, eos_token_id=2, bos_token_id=1, pad_token_id=3)
    if kind == "clip_text_model":
        return transformers.CLIPTextModel(text)
    vision = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    vision |= {"image_size": 8, "patch_size": 4}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision))


def _tokenizer(transformers, more_words=(), **changes):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    unknown, opening, closing, padding = WORDS[:4]
    numbers = {word: n for n, word in enumerate((*WORDS, *more_words))}
    made = Tokenizer(models.WordLevel(numbers, unk_token=unknown))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    settings = {
        "unk_token": unknown,
        "pad_token": padding,
        "cls_token": opening,
        "sep_token": closing,
        "model_max_length": SIZES["max_position_embeddings"],
    }
    stated = {key: value for key, value in (settings | changes).items() if value is not None}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **stated)
