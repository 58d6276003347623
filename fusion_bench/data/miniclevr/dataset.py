"""The built-in data set: made once, on any machine, in CLEVR's own file layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from fusion_bench.data.clevr import KIND_STARTS, Clevr
from fusion_bench.data.miniclevr.making import Edition, make
from fusion_bench.errors import DataError
from fusion_bench.samples import Split, Splits
from fusion_bench.storage import canonical, lock, read_json, write_json

_DONE = "DONE"


class MiniClevr(Clevr):
    """CLEVR without Blender: ray-cast scenes, questions of CLEVR's nine kinds, splits train, val and test.

    `prepare` makes the files beside ``root`` and moves them there when all are whole, so that ``root``
    either does not exist or is complete, however a making ends. Two processes make it once.

    Args:
        root: folder to make, which must not hold anything else; one folder for one choice of settings.
        images: how many for ``train``, ``select`` and ``evaluate``.
        questions_per_image: how many are asked; an image of few objects may allow fewer.
        kinds: question kinds; None for all nine.
        size: height and width of the pictures.
        seed: of scenes and questions; pictures of one seed are no part of another's.
        things: least and most objects of a scene.

    Raises:
        DataError: a setting makes no data set.
    """

    name: ClassVar[str] = "miniclevr"
    version: ClassVar[str] = "1"
    built_in: ClassVar[bool] = True
    holds_out: ClassVar[bool] = False
    toy_settings: ClassVar[Mapping[str, Any]] = {
        "images": {"train": 40, "select": 10, "evaluate": 10},
        "size": [32, 48],
    }

    splits = Splits(train="train", select="val", evaluate=("test",))

    def __init__(
        self,
        root: Path,
        *,
        images: Mapping[str, int],
        questions_per_image: int = 10,
        kinds: Sequence[str] | None = None,
        size: Sequence[int] = (64, 96),
        seed: int = 0,
        things: Sequence[int] = (3, 10),
    ) -> None:
        super().__init__(root, kinds=kinds)
        names = {
            "train": self.splits.train,
            "select": self.splits.select,
            "evaluate": self.splits.evaluate[0],
        }
        if set(images) != set(names) or any(_whole(count) < 1 for count in images.values()):
            raise DataError(
                f"images must give a number of pictures for {', '.join(names)}, not {dict(images)!r}"
            )
        if _whole(questions_per_image) < 1:
            raise DataError(f"questions_per_image must be at least 1, not {questions_per_image!r}")
        self._edition = Edition(
            seed=seed,
            images=tuple((split, images[role]) for role, split in names.items()),
            questions_per_image=questions_per_image,
            # The order in which kinds are written changes nothing.
            kinds=tuple(kind for kind in KIND_STARTS if kind in self.kinds),
            size=_pair("size", size, least=8),
            things=_pair("things", things, least=1),
        )
        fewest, most = self._edition.things
        if not fewest <= most <= 10:
            raise DataError(
                f"things must run from a smaller to a larger number up to 10, not {list(things)!r}"
            )

    def prepare(self, workers: int = 1) -> None:
        """Make pictures, scenes and questions unless they stand already.

        Args:
            workers: processes; they never change what is made.

        Raises:
            DataError: ``root`` holds something else.
        """
        unfinished = self.root.with_name(f".{self.root.name}.part")
        with lock(self.root.with_name(f".{self.root.name}.lock"), wait=True):
            if self._is_made():
                return
            if unfinished.exists():
                shutil.rmtree(unfinished)
            make(self._edition, unfinished, workers)
            write_json(unfinished / _DONE, self._settings())
            if self.root.exists():
                self.root.rmdir()
            unfinished.rename(self.root)

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`."""
        self._must_be_made()
        return super().split(name)

    def manifest(self) -> str:
        """SHA-256 over the question files and the names and sizes of the images."""
        self._must_be_made()
        return super().manifest()

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads(canonical({"version": self.version, **asdict(self._edition)}))
        return settings

    def _is_made(self) -> bool:
        if not self.root.exists() or (self.root.is_dir() and not any(self.root.iterdir())):
            return False
        if not (self.root / _DONE).exists():
            raise DataError(
                f"{self.root} holds files that {self.name} did not make; give it a folder of its own"
            )
        if read_json(self.root / _DONE) != self._settings():
            raise DataError(
                f"{self.root} holds a {self.name} of other settings (see {self.root / _DONE}); give these settings "
                f"a folder of their own, or remove that one"
            )
        return True

    def _must_be_made(self) -> None:
        if not self._is_made():
            raise DataError(f"the data set {self.name} is not made yet in {self.root}; call prepare() first")


def _whole(value: object) -> int:
    return value if type(value) is int else -1


def _pair(name: str, values: Sequence[int], least: int) -> tuple[int, int]:
    if len(values) != 2 or any(_whole(value) < least for value in values):
        raise DataError(f"{name} must be two whole numbers of at least {least}, not {values!r}")
    return values[0], values[1]
