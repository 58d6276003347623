"""Word vectors from a file: the right row for every word, and the line number of every damaged line."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import pytest
import torch

from fusion_bench.encoders.glove import GloveEncoder, read_vectors, vector_length
from fusion_bench.encoders.text import GruEncoder
from fusion_bench.errors import WeightsError

LINES = "the 0.5 -1 2e-1\nred 1 2 3\n. . 7 8 9\nred 4 4 4\nblue -1 0 1\n"
WORDS = ("red", "cube", "blue", "sphere")


def written(folder: Path, text: str = LINES) -> Path:
    file = folder / "vectors.txt"
    file.write_text(text, encoding="utf-8")
    return file


def encoder(file: Path, *, seed: int = 0, **settings: object) -> GloveEncoder:
    torch.manual_seed(seed)
    made = GloveEncoder(len(WORDS) + 2, file=file, hidden=4, **settings)  # type: ignore[arg-type]
    made.meet(WORDS)
    return made


def test_rows_are_those_of_the_file_and_a_repeated_word_has_its_first(tmp_path: Path) -> None:
    rows = encoder(written(tmp_path)).embedding.weight
    assert rows.shape == (6, 3)
    assert rows[2].tolist() == [1, 2, 3]
    assert rows[4].tolist() == [-1, 0, 1]
    assert not rows[:2].any(), "padding and unknown words"


def test_rows_of_missing_words_are_drawn_at_the_scale_of_the_others(tmp_path: Path) -> None:
    found = torch.randn(300, 20) * 3
    lines = [f"w{row} " + " ".join(map(str, vector.tolist())) for row, vector in enumerate(found)]
    words = [f"w{row}" for row in range(300)] + [f"x{row}" for row in range(300)]
    made = GloveEncoder(602, file=written(tmp_path, "\n".join(lines)), hidden=2)
    made.meet(words)
    drawn = made.embedding.weight[302:]
    assert float(drawn.std() / found.std()) == pytest.approx(1, abs=0.05)
    assert abs(float(drawn.mean())) < 0.1
    one, same, other = (encoder(written(tmp_path), seed=seed).embedding.weight[3] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_share_of_words_with_a_vector_is_reported(tmp_path: Path) -> None:
    assert encoder(written(tmp_path)).note == (
        "4 words from train, 2 of them (50.0%) with a vector in the file, the others with a random vector; "
        "vectors are frozen"
    )


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_vectors_get_no_gradient_and_the_gru_does(tmp_path: Path, frozen: bool) -> None:
    made = encoder(written(tmp_path), frozen=frozen)
    tokens = torch.tensor([[2, 3], [4, 0]])
    made(tokens, tokens != 0).sentence.sum().backward()
    assert (made.embedding.weight.grad is None) == frozen
    assert made.gru.weight_ih_l0.grad is not None


def test_it_is_the_gru_over_other_vectors(tmp_path: Path) -> None:
    made = encoder(written(tmp_path), sentence="attention").eval()
    twin = GruEncoder(6, embedding=3, hidden=4, sentence="attention").eval()
    twin.load_state_dict(made.state_dict())
    tokens = torch.tensor([[2, 3, 5], [4, 1, 0]])
    ours, theirs = made(tokens, tokens != 0), twin(tokens, tokens != 0)
    assert torch.equal(ours.words, theirs.words)
    assert torch.equal(ours.sentence, theirs.sentence)
    assert made.language_dim == 8


def test_a_compressed_file_reads_the_same_whatever_its_name(tmp_path: Path) -> None:
    plain, zipped = written(tmp_path), tmp_path / "zipped"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    one, other = read_vectors(plain, WORDS), read_vectors(zipped, WORDS)
    assert one.keys() == other.keys() == {"red", "blue"}
    assert all(torch.equal(one[word], other[word]) for word in one)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 1\nred 3 4\n", "line 2: 1 numbers where the first line has 2"),
        ("a 1 2\nred 3 4 5\n", "line 2: 3 numbers where the first line has 2"),
        ("a 1 2\n\nred 3 4\n", "line 2: 0 numbers where the first line has 2"),
        ("a 1 2\nred 3 x\n", "line 2: 'x' is not a number"),
        ("a 1 2\nred nan 1\n", "line 2: 'nan' is not a number"),
        ("5 3\nred 1 2\n", "line 2: 2 numbers where the first line has 1"),
        ("", "line 1: expected a word and its vector (word v1 v2 ...)"),
        ("alone\nred 1\n", "line 1: expected a word and its vector (word v1 v2 ...)"),
    ],
)
def test_a_damaged_line_is_named_by_its_number(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(WeightsError) as refused:
        read_vectors(file, WORDS)
    assert str(refused.value) == f"{file}, {message}"


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + LINES,
        LINES.replace("\n", "\r\n"),
        LINES + "\n\n",
        LINES.rstrip("\n"),
        "5 3\n" + LINES.replace(". . 7 8 9\n", ""),
        "\ufeff400000 3\r\n" + LINES.replace("\n", " \r\n") + "\r\n",  # fastText ends lines with a blank
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_of_any_editor_or_of_word2vec_reads_the_same(
    tmp_path: Path, content: str, zipped: bool
) -> None:
    plain, file = written(tmp_path), tmp_path / "other"
    file.write_bytes(gzip.compress(content.encode()) if zipped else content.encode())
    assert vector_length(file) == 3
    found, expected = read_vectors(file, ("the", *WORDS)), read_vectors(plain, ("the", *WORDS))
    assert found.keys() == expected.keys() == {"the", "red", "blue"}
    assert all(torch.equal(found[word], expected[word]) for word in expected)


def test_words_that_are_numbers_are_not_word2vecs_first_line(tmp_path: Path) -> None:
    file = written(tmp_path, "7 1\n8 2\n")  # vectors of one channel
    assert {word: vector.tolist() for word, vector in read_vectors(file, ("7", "8")).items()} == {
        "7": [1.0],
        "8": [2.0],
    }


def test_an_archive_names_its_files(tmp_path: Path) -> None:
    file = tmp_path / "glove.6B.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for size in (50, 100):
            archive.writestr(f"glove.6B.{size}d.txt", LINES)
    with pytest.raises(WeightsError) as refused:
        vector_length(file)
    assert str(refused.value) == (
        f"{file} is a zip archive; unpack it and name the file in it (glove.6B.50d.txt, glove.6B.100d.txt)"
    )
    file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(WeightsError, match="cannot read the word vectors"):
        vector_length(file)


def test_a_file_that_is_not_there_or_cut_off_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read the word vectors .*absent\.txt: .*No such file"):
        vector_length(tmp_path / "absent.txt")
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(LINES.encode() * 100)[:60])
    with pytest.raises(WeightsError, match="cannot read the word vectors"):
        read_vectors(cut, WORDS)


def test_a_file_without_any_of_the_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="contains none of the 4 words of the training split"):
        encoder(written(tmp_path, "other 1 2\n"))
