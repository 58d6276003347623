"""All problems of a data set on disk are found and reported together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusion_bench.data.verify import VerificationResult, checksums, verify
from fusion_bench.samples.dataset import Counts, DataSet
from fusion_bench.samples.geometry import Referents
from fusion_bench.samples.split import Split
from fusion_bench.storage import file_digest
from toys import ColourData, Squares


def quietly(items: Sequence[Path], what: str) -> Iterable[Path]:
    return items


def verified(data: DataSet) -> VerificationResult:
    return verify(data, quietly, workers=2)


def squares(root: Path, cls: type[Squares] = Squares) -> Squares:
    data = cls(root, images=3)
    data.prepare()
    return data


def test_a_complete_data_set_has_no_problem(tmp_path: Path) -> None:
    found = verified(squares(tmp_path))
    assert found == VerificationResult(
        {name: Counts(9, 3) for name in ("train", "val", "test")}, (), (), published=False
    )


def test_damaged_and_missing_images_are_named(tmp_path: Path) -> None:
    data = squares(tmp_path)
    (tmp_path / "val" / "1.png").write_bytes(b"no picture")
    (tmp_path / "test" / "2.png").unlink()
    first, second = verified(data).problems
    assert "val/1.png is damaged or not an image" in first
    assert "cannot read the image" in second or "2.png" in second


def test_the_number_of_further_damaged_images_is_reported(tmp_path: Path) -> None:
    data = squares(tmp_path)
    for image in tmp_path.rglob("*.png"):
        image.write_bytes(b"")
    assert verified(data).problems[-1] == "4 more images cannot be used"
    assert len(verified(data).problems) == 6


class Published(Squares):
    """A data set that differs from its publication in counts and rows."""

    built_in = False
    published = {"train": Counts(9, 4), "test": Counts(10, None), "nowhere": Counts(1, 1)}  # noqa: RUF012
    unlabelled = ("secret",)

    def split(self, name: str) -> Split:
        if name == "secret":
            return replace(
                super().split("test"), name=name, table=super().split("test").table.assign(truth="")
            )
        split = super().split(name)
        if name != "val":
            return split
        table = split.table.copy()
        table.loc[0, "sample"] = table.loc[1, "sample"]
        table.loc[2, "text"] = " "
        boxes = np.tile([[2.0, 2.0, 9.0, 9.0]], (9, 1))
        boxes[3] = [2, 2, 40, 9]
        return replace(split, table=table, referents=Referents(boxes, np.full((3, 2), 32)))


def test_counts_ids_texts_and_boxes_are_checked(tmp_path: Path) -> None:
    found = verified(squares(tmp_path, Published))
    assert found.problems == (
        "val: 1 sample ids occur twice",
        "val: 1 samples have no text",
        "val: 1 boxes are empty or outside their images",
        # A held-out split is counted with the training split.
        "train: 18 samples, but 9 are published",
        "train: 6 images, but 4 are published",
        "test: 9 samples, but 10 are published",
    )
    assert found.notes == ("squares 1 is published at tests/support/toys.py",)
    assert found.found["secret"] == Counts(9, 3)


def test_checksums_are_of_every_file_that_is_not_hidden(tmp_path: Path) -> None:
    squares(tmp_path)
    (tmp_path / ".lock").touch()
    found = checksums(tmp_path, quietly)
    assert [*found] == sorted(
        f"{split}/{image}.png" for split in ("train", "val", "test") for image in range(3)
    )
    assert found["val/1.png"] == file_digest(tmp_path / "val" / "1.png")


def test_a_split_that_cannot_be_read_is_reported() -> None:
    data = ColourData(Path("nowhere"), images=1)
    assert [problem for problem in verified(data).problems if "0.png" in problem]


@pytest.mark.pack
def test_a_pack_is_complete_but_smaller_than_the_release(packs: Path) -> None:
    from fusion_bench.data.clevr import Clevr

    found = verified(Clevr(packs / "clevr_mini"))
    assert {problem.partition(":")[0] for problem in found.problems} == {"train", "val"}
    assert all("are published" in problem for problem in found.problems)
    assert any("CLEVR_test_questions.json does not exist" in note for note in found.notes)
