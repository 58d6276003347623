"""Builds the text encoder of a cell, with the files that its settings name by hash and with its vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fusion_bench.contract import TextEncoder, Tokenizer
from fusion_bench.samples.vocabulary import Vocabulary
from fusion_bench.training.config import CellConfig, resolve_paths
from fusion_bench.training.seeds import seeded_rng

EMPTY_VOCABULARY = Vocabulary(())
"""The vocabulary of an encoder that is built only to read its attributes."""


def build_text_encoder(config: CellConfig, vocabulary: Tokenizer, files: Mapping[str, Path]) -> TextEncoder:
    """Return the cell's text encoder with its initial weights, from the stream ``init/text`` of the cell's seed.

    Args:
        config: the settings of the cell.
        vocabulary: the tokenizer of the texts that it will encode.
        files: the files that its settings name, by SHA-256.

    Raises:
        FusionBenchError: the path of such a file is not known.
    """
    with seeded_rng("init/text", config.seed):
        encoder: TextEncoder = config.text.target.load()(
            len(vocabulary), **resolve_paths(config.text.settings, files)
        )
        if isinstance(vocabulary, Vocabulary) and vocabulary.words:
            encoder.meet(vocabulary.words)
    return encoder


def tokenizer_of(encoder: TextEncoder, texts: Iterable[str]) -> Tokenizer:
    """Return the encoder's own tokenizer; for an encoder without one, the vocabulary of ``texts``."""
    return encoder.tokenizer() or Vocabulary.of(texts)
