"""Weights for machines without a network: made once by the pretext task, kept in the cache."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fusion_bench.data.miniclevr.pretext import (
    cell_targets,
    image_hashes,
    pretext_images,
)
from fusion_bench.data.miniclevr.scenes.conditions import CogentCondition
from fusion_bench.encoders.vision import build_backbone, normalise, save_backbone
from fusion_bench.errors import DataError
from fusion_bench.storage import digest, file_digest, lock, read_json, write_json
from fusion_bench.training.pretext import PretextCells, PretextRecipe, train_pretext
from fusion_bench.training.seeds import seeded_rng

_SEED = 0


@dataclass(frozen=True)
class PretextWeights:
    """Weights that the pretext task made.

    Attributes:
        file: what ``build_backbone(weights="pretext")`` reads.
        pictures: SHA-256 of every picture that they have seen.
    """

    file: Path
    pictures: frozenset[str]

    def refuse_seen(self, images: npt.NDArray[np.uint8], split: str) -> None:
        """Make sure that no picture ``[N, H, W, 3]`` of a split was learnt from.

        Raises:
            DataError: one was.
        """
        shared = self.pictures.intersection(image_hashes(images))
        if shared:
            raise DataError(
                f"{len(shared)} pictures of the split {split!r} are also pictures of the pretext task, so the "
                "backbone has seen them; draw the data set with another seed"
            )


def pretext_weights(
    name: str,
    layer: int,
    image_size: tuple[int, int],
    cache: Path,
    recipe: PretextRecipe = PretextRecipe(),  # noqa: B008 - frozen
    condition: CogentCondition | None = None,
) -> PretextWeights:
    """The weights of a backbone after the pretext task, from the cache or made now.

    One process makes them while others wait. They depend on the backbone, the size of the pictures, the
    recipe and the versions of torch and timm.

    Args:
        name: timm's name; ``layer``: the map that learns.
        image_size: height and width.
        cache: the runs' cache.
        recipe: how to train.
        condition: of CoGenT, which the scenes keep to; None: any scenes.
    """
    wanted = [name, layer, list(image_size), asdict(recipe), _SEED, torch.__version__, version("timm")]
    if condition is not None:
        wanted.append(condition)
    file = cache / "weights" / f"pretext-{digest(wanted)}.safetensors"
    record = file.with_suffix(".json")
    with lock(file.with_suffix(".lock"), wait=True):
        if not _whole(file, record):
            _make(name, layer, image_size, recipe, condition, file)
    return PretextWeights(file, frozenset(read_json(record)["pictures"]))


def _whole(file: Path, record: Path) -> bool:
    if not (file.exists() and record.exists()):
        return False
    recorded: str = read_json(record)["sha256"]
    return recorded == file_digest(file)


def _make(
    name: str,
    layer: int,
    image_size: tuple[int, int],
    recipe: PretextRecipe,
    condition: CogentCondition | None,
    file: Path,
) -> None:
    seen = pretext_images(_SEED, recipe.images + recipe.held_out, image_size, condition=condition)
    with seeded_rng("init/pretext-backbone", _SEED):
        backbone = build_backbone(name, image_size=image_size, layer=layer)
    share, attributes = cell_targets(seen.ids, seen.attributes, backbone.map_size)
    pictures = normalise(torch.from_numpy(seen.images), backbone.mean, backbone.std)
    cells = PretextCells(
        pictures.contiguous(memory_format=torch.channels_last),
        torch.from_numpy(share),
        torch.from_numpy(attributes),
    )
    scores = train_pretext(backbone, backbone.channels, cells, recipe, _SEED)
    save_backbone(backbone, file)
    write_json(
        file.with_suffix(".json"),
        {
            "sha256": file_digest(file),
            "backbone": name,
            "layer": layer,
            "recipe": asdict(recipe),
            "condition": condition,
            "held_out_accuracy": {"foreground": scores.foreground, **scores.attributes},
            "pictures": image_hashes(seen.images),
        },
    )
