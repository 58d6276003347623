"""Tiny pretrained models with random weights and a word tokenizer, in folders of ``save_pretrained``."""

from __future__ import annotations

from pathlib import Path

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


def save_tiny(kind: str, folder: Path) -> Path:
    """Save a ``bert``, a ``clip_text_model`` or a full ``clip`` in a folder; skip the test without transformers."""
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    transformers.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = _net(transformers, kind)
    net.save_pretrained(folder)
    _tokenizer(transformers).save_pretrained(folder)
    return folder


def _net(transformers, kind):  # type: ignore[no-untyped-def]
    if kind == "bert":
        return transformers.BertModel(transformers.BertConfig(**SIZES))
    text = transformers.CLIPTextConfig(**SIZES, eos_token_id=2, bos_token_id=1, pad_token_id=3)
    if kind == "clip_text_model":
        return transformers.CLIPTextModel(text)
    vision = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    vision |= {"image_size": 8, "patch_size": 4}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision))


def _tokenizer(transformers):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    unknown, opening, closing, padding = WORDS[:4]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token=unknown))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token=unknown,
        pad_token=padding,
        cls_token=opening,
        sep_token=closing,
        model_max_length=SIZES["max_position_embeddings"],
    )
