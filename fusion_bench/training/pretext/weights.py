"""Backbone weights from the pretext task, for machines without a network.

Those of the default backbone are shipped in the package; others are trained once and kept in the cache.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import timm
import torch

from fusion_bench.data.miniclevr.pretext import (
    PretextImages,
    image_hashes,
    position_targets,
    pretext_images,
)
from fusion_bench.encoders.pretext_file import save_pretext
from fusion_bench.encoders.vision import Backbone, build_backbone
from fusion_bench.errors import DataError, FusionBenchError, WeightsError
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.storage import file_digest, lock, read_json, replacing, write_json
from fusion_bench.training.pretext.network import MapTargets, PretextNetwork, PretextSamples
from fusion_bench.training.pretext.recognition import train_pretext
from fusion_bench.training.pretext.scores import PretextScores
from fusion_bench.training.pretext.task import PRETEXT_SEED, PretextTask
from fusion_bench.training.seeds import seeded_rng

_HASH_BYTES = 8


@dataclass(frozen=True)
class PretextWeights:
    """The weights of a backbone after the pretext task.

    Attributes:
        file: the file that ``build_backbone(weights="pretext")`` reads.
        trained_on: `image_hashes` of every image that the backbone was trained or scored on.
    """

    file: Path
    trained_on: frozenset[str]

    def check_unseen(self, images: npt.NDArray[np.uint8], split: str) -> None:
        """Check that no image of a split was used by the pretext task.

        Images are compared by the hash of their pixels. The weights of the package may have been trained on another
        machine; where that one draws scenes with other bits than this one, none of its images is found.

        Args:
            images: ``[N, H, W, 3]`` uint8.
            split: the name of the split.

        Raises:
            DataError: an image was used.
        """
        shared = self.trained_on.intersection(image_hashes(images))
        if shared:
            raise DataError(
                f"{len(shared)} images of the split {split!r} are also images of the pretext task, so the backbone "
                "was trained on them; generate the data set with another seed"
            )


def make_pretext_weights(task: PretextTask, cache: Path, notify: Notify = say_nothing) -> PretextWeights:
    """Return the weights after the pretext task; train them first unless they are in the package or the cache.

    One process trains while others wait.

    Args:
        task: the backbone and the training settings.
        cache: the folder of the weights.
        notify: is told how many images are rendered and how many steps are trained.

    Raises:
        WeightsError: the loss of the pretext task is not finite, or the file in the package is damaged.
    """
    if not task.is_shipped:
        file = task.file(cache)
        with lock(file.with_suffix(".lock"), wait=True):
            if not _is_complete(file):
                write_pretext_weights(task, file, notify)
    return read_pretext_weights(task, cache)


def read_pretext_weights(task: PretextTask, cache: Path) -> PretextWeights:
    """Return the weights after the pretext task from the package or the cache.

    Raises:
        WeightsError: they are missing or damaged.
    """
    file = task.file(cache)
    if not _is_complete(file):
        if task.is_shipped:
            raise WeightsError(f"{file}, which the package brings, is damaged; install the package again")
        raise WeightsError(
            f"the pretext weights of {task.name} are not in {cache / 'weights'}; run the study again to make them"
        )
    hashes = _pictures(file).read_bytes()
    ends = range(_HASH_BYTES, len(hashes) + 1, _HASH_BYTES)
    return PretextWeights(file, frozenset(hashes[end - _HASH_BYTES : end].hex() for end in ends))


def write_pretext_weights(task: PretextTask, file: Path, notify: Notify = say_nothing) -> PretextScores:
    """Train a backbone on the pretext task, write its weights, and return its scores.

    Beside the weights are written the hashes of the images (``.pictures``, the first 8 bytes of the SHA-256 of each)
    and, last, a record of the task and the scores (``.json``).

    Args:
        task: the backbone and the training settings.
        file: the file of the weights.
        notify: is told how many images are rendered and how many steps are trained.

    Raises:
        WeightsError: the loss of the pretext task is not finite.
    """
    recipe = task.recipe
    made = pretext_images(
        PRETEXT_SEED,
        recipe.images + recipe.held_out,
        task.image_size,
        condition=task.condition,
        notify=notify,
    )
    with seeded_rng("init/pretext-backbone", PRETEXT_SEED):
        backbone = build_backbone(task.name, image_size=task.image_size, layer=task.layer, maps=recipe.maps)
    network = PretextNetwork(backbone, PRETEXT_SEED)
    scores = train_pretext(network, pretext_samples(made, backbone), recipe, PRETEXT_SEED, notify)
    save_pretext(backbone.net, file, backbone.name, network.heads.state_dict())
    pictures = _pictures(file)
    with replacing(pictures) as part:
        part.write_bytes(bytes.fromhex("".join(image_hashes(made.images))))
    write_json(
        file.with_suffix(".json"),
        {
            "sha256": file_digest(file),
            "pictures_sha256": file_digest(pictures),
            "backbone": task.name,
            "layer": task.layer,
            "image_size": task.image_size,
            "condition": task.condition,
            "recipe": asdict(recipe),
            "held_out_accuracy": [asdict(scores_of_map) for scores_of_map in scores.maps],
            "torch": torch.__version__,
            "timm": timm.__version__,
        },
    )
    return scores


def pretext_samples(made: PretextImages, backbone: Backbone) -> PretextSamples:
    """Return images and their targets at the positions of every map of a backbone."""
    black = torch.zeros(1, 3, *backbone.image_size)
    with torch.no_grad():
        grids = [features.shape[2:] for features in backbone.eval().maps(black)]
    targets = [position_targets(made.ids, made.attributes, (grid[0], grid[1])) for grid in grids]
    return PretextSamples(
        torch.from_numpy(made.images),
        tuple(
            MapTargets(*map(torch.from_numpy, (found.share, found.attributes, found.part, found.peak)))
            for found in targets
        ),
    )


def _pictures(file: Path) -> Path:
    """Return the file of the hashes of the images that weights were trained or scored on."""
    return file.with_suffix(".pictures")


def _is_complete(file: Path) -> bool:
    record, pictures = file.with_suffix(".json"), _pictures(file)
    if not (file.exists() and pictures.exists() and record.exists()):
        return False
    try:
        recorded = read_json(record)
        return (recorded["sha256"], recorded["pictures_sha256"]) == (file_digest(file), file_digest(pictures))
    except (FusionBenchError, KeyError, TypeError):  # the record is damaged
        return False
