"""A contact sheet shows samples with the boxes and masks of their referents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusion_bench.errors import DataError
from fusion_bench.reporting.figures.contact_sheet import draw_contact_sheet
from fusion_bench.reporting.figures.style import RIGHT, WRONG
from fusion_bench.samples.geometry import Referents
from fusion_bench.samples.split import Split
from toys import Squares


@pytest.fixture
def split(tmp_path: Path) -> Split:
    data = Squares(tmp_path, images=2)
    data.prepare()
    return data.split("val")


def colours(path: Path, colour: str) -> int:
    """Pixels of about a colour."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int((np.abs(pixels - wanted).max(2) < 12).sum())


def test_boxes_and_masks_are_outlined_where_there_are_any(split: Split, tmp_path: Path) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    plain, boxed, masked = (tmp_path / f"{name}.png" for name in ("plain", "boxed", "masked"))
    draw_contact_sheet(split, plain)
    referents = Referents(np.tile([[4.0, 4.0, 20.0, 20.0]], (6, 1)), np.full((2, 2), 32))
    draw_contact_sheet(replace(split, referents=referents), boxed)
    shape = np.zeros((32, 32), dtype=np.uint8, order="F")
    shape[6:18, 6:18] = 1
    outlined = replace(referents, masks=(mask.encode(shape),) * 6)
    draw_contact_sheet(replace(split, referents=outlined), masked)
    assert (colours(plain, WRONG), colours(plain, RIGHT)) == (0, 0)
    assert colours(boxed, WRONG) > 1000
    assert colours(boxed, RIGHT) == 0
    assert colours(masked, RIGHT) > 1000


def test_a_truncated_image_is_named(split: Split, tmp_path: Path) -> None:
    image = split.images[1]
    image.write_bytes(image.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"1\.png is damaged or not an image"):
        draw_contact_sheet(split, tmp_path / "sheet.png")


def test_equal_samples_make_equal_files(split: Split, tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw_contact_sheet(split.evenly_spaced(3), tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_questions_and_answers_are_drawn_as_they_are(split: Split, tmp_path: Path) -> None:
    texts = ["$5 or $x_1$?", "_hidden_ قط", "a\x00b\tc \U00020000", "very long " * 90, r"\frac{", "x" * 500]
    table = split.table.assign(text=texts, truth="$5.00$")
    draw_contact_sheet(replace(split, table=table), tmp_path / "sheet.png")  # a warning fails the test
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
