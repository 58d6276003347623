"""A cell's text encoder: constructed, given the files that it names by hash and the words that it will read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fusion_bench.contract import TextEncoder, Tokenizer
from fusion_bench.samples.vocabulary import Vocabulary
from fusion_bench.training.config import CellConfig, resolve_paths
from fusion_bench.training.seeds import seeded_rng

NOTHING_READ = Vocabulary(())
"""For an encoder that is only asked what it is."""


def text_encoder(config: CellConfig, vocabulary: Tokenizer, files: Mapping[str, Path]) -> TextEncoder:
    """The cell's text encoder with its initial weights, drawn from the seed's own stream.

    Args:
        config: what the cell is asked.
        vocabulary: what it will read.
        files: what its settings name by SHA-256.
    """
    with seeded_rng("init/text", config.seed):
        encoder: TextEncoder = config.text.target.load()(
            len(vocabulary), **resolve_paths(config.text.settings, files)
        )
        if isinstance(vocabulary, Vocabulary) and vocabulary.words:
            encoder.meet(vocabulary.words)
    return encoder


def tokenizer_of(encoder: TextEncoder, texts: Iterable[str]) -> Tokenizer:
    """The encoder's own tokenizer, or the words of the texts that may be known."""
    return encoder.tokenizer() or Vocabulary.of(texts)
