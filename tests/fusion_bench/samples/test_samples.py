"""Vocabulary, splits, their known counts and the geometry of resizing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusion_bench.registries import DATASETS
from fusion_bench.samples.dataset import Counts
from fusion_bench.samples.geometry import Referents, Resizing
from fusion_bench.samples.split import Sample, Split
from fusion_bench.samples.vocabulary import PAD, UNKNOWN, Vocabulary, tokenize
from toys import Squares


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Is there a RED cube?", ["is", "there", "a", "red", "cube"]),
        ("There's one; left, not right.", ["there's", "one", ";", "left", ",", "not", "right"]),
        ("2 boxes", ["2", "boxes"]),
        ("红色的立方体 在哪里？", ["红色的立方体", "在哪里"]),  # noqa: RUF001 - full-width, as it is written
        ("Où est l'Étoile", ["où", "est", "l'étoile"]),
        ("", []),
        (" ?! ", []),
    ],
)
def test_words_are_runs_of_letters_in_any_script(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


def test_a_vocabulary_is_ordered_by_frequency_then_alphabet() -> None:
    vocabulary = Vocabulary.of(["b a c", "c b", "c"])
    assert vocabulary.words == ("c", "b", "a")
    assert len(vocabulary) == 5, "padding and the unknown word count"


def test_texts_become_padded_rows_of_ids() -> None:
    vocabulary = Vocabulary(("red", "cube"))
    encoded = vocabulary.encode(["red cube", "cube", "blue cube red"])
    assert encoded.dtype == np.int64
    assert encoded.tolist() == [[2, 3, PAD], [3, PAD, PAD], [UNKNOWN, 3, 2]]


def test_a_text_without_a_word_still_has_a_real_one() -> None:
    encoded = Vocabulary(("red",)).encode(["", "?!", "red"])
    assert encoded.tolist() == [[UNKNOWN], [UNKNOWN], [2]]


def test_long_texts_are_cut_and_no_texts_are_no_rows() -> None:
    vocabulary = Vocabulary(("a", "b"))
    assert vocabulary.encode(["a b a b"], longest=2).tolist() == [[2, 3]]
    assert vocabulary.encode([]).shape == (0, 1)


def test_evenly_spaced_samples_keep_only_their_images() -> None:
    table = pd.DataFrame(
        {"sample": list("abcdefg"), "image": [0, 0, 1, 1, 2, 2, 3], "truth": list("0000111")}
    )
    split = Split("val", table, tuple(Path(f"{name}.png") for name in "wxyz"))
    part = split.evenly_spaced(3)
    assert part.table["sample"].tolist() == ["a", "d", "g"]
    assert [part.images[row].stem for row in part.table["image"]] == ["w", "x", "z"]
    assert len(part.images) == 3
    assert split.evenly_spaced(99).table.equals(table)


def test_a_row_of_a_split_is_a_sample() -> None:
    table = pd.DataFrame(
        {
            "sample": ["q0", "q1"],
            "cluster": ["i1", "i0"],
            "image": [1, 0],
            "text": ["is it?", "what?"],
            "truth": ["yes", "red"],
        }
    )
    split = Split("val", table, (Path("a.png"), Path("b.png")))
    assert len(split) == 2
    assert split.sample(0) == Sample("q0", Path("b.png"), "is it?", "yes")


def test_rows_of_a_split_keep_their_referents_and_the_images_in_use() -> None:
    table = pd.DataFrame({"sample": list("abc"), "image": [2, 0, 2], "truth": list("xyz")})
    boxes = np.arange(12, dtype=np.float64).reshape(3, 4)
    masks = tuple({"size": [4, 6], "counts": bytes([number])} for number in range(3))
    referents = Referents(boxes, np.array([[4, 6], [8, 9], [5, 7]]), masks)
    split = Split("val", table, tuple(Path(f"{name}.png") for name in "pqr"), (), referents)
    part = split.rows(np.array([2, 1]))
    assert part.referents is not None
    assert part.table["image"].tolist() == [1, 0]
    assert [path.stem for path in part.images] == ["p", "r"]
    assert part.referents.boxes.tolist() == [boxes[2].tolist(), boxes[1].tolist()]
    assert part.referents.sizes.tolist() == [[4, 6], [5, 7]]
    assert part.referents.masks == (masks[2], masks[1])


def test_boxes_go_to_the_input_and_back() -> None:
    resizing = Resizing(height=50, width=200)
    sizes = np.array([[100, 100], [25, 400]])
    boxes = np.array([[10.0, 20.0, 30.0, 40.0], [0.0, 0.0, 400.0, 25.0]])
    there = resizing.to_input(boxes, sizes)
    assert there.tolist() == [[20.0, 10.0, 60.0, 20.0], [0.0, 0.0, 200.0, 50.0]]
    assert np.allclose(resizing.to_original(there, sizes), boxes, rtol=0, atol=1e-12)


def test_a_letterbox_keeps_the_aspect_ratio_and_is_centred() -> None:
    """By hand: 640 x 480 in 416 gives 416 x 312, 52 above; the smaller half of an odd rest is first."""
    resizing = Resizing(height=416, width=416, letterbox=True)
    sizes = np.array([[480, 640], [640, 480], [416, 416], [333, 500], [1, 2000]])
    assert resizing.windows(sizes).tolist() == [
        [0, 52, 416, 312],
        [52, 0, 312, 416],
        [0, 0, 416, 416],
        [0, (416 - 277) // 2, 416, 277],
        [0, 207, 416, 1],
    ]
    wide = Resizing(height=50, width=200, letterbox=True)
    assert wide.windows(np.array([[100, 100], [10, 400]])).tolist() == [[75, 0, 50, 50], [0, 22, 200, 5]]


def test_boxes_go_to_a_letterbox_and_back() -> None:
    resizing = Resizing(416, 416, letterbox=True)
    sizes = np.array([[480, 640], [640, 480]])
    boxes = np.array([[0.0, 0.0, 640.0, 480.0], [120.0, 320.0, 240.0, 640.0]])
    there = resizing.to_input(boxes, sizes)
    assert np.allclose(there, [[0, 52, 416, 364], [52 + 78, 208, 52 + 156, 416]], rtol=0, atol=1e-9)
    assert np.allclose(resizing.to_original(there, sizes), boxes, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("published", "train", "known"),
    [
        ({}, None, None),
        ({"train": 8, "test": 4}, None, 4),  # val is held out of train
        ({"train": 8, "val": 2, "test": 4}, 8, 4),
        ({"train": 8, "val": None}, 8, None),
    ],
)
def test_what_remains_of_a_training_split_is_not_known(
    tmp_path: Path, published: dict[str, int | None], train: int | None, known: int | None
) -> None:
    data = Squares(tmp_path, images=1)
    data.published = {name: Counts(samples, None) for name, samples in published.items()}
    assert data.known_counts("train") == Counts(train, None)
    assert data.known_counts("test") == Counts(known, None)
    assert data.known_counts("nowhere") == Counts(None, None)


@pytest.mark.parametrize("name", ["clevr", "vqa2", "easy_vqa"])
def test_a_held_out_split_is_told_by_its_adapter(tmp_path: Path, name: str) -> None:
    data = DATASETS.load(name)(tmp_path)
    assert data.holds_out_select
    assert data.known_counts(data.splits.train) == Counts(None, None)
    assert data.known_counts(data.splits.evaluate[0]).images
