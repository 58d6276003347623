"""Backbone weights from the pretext task, for machines without a network; trained once and kept in the cache."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fusion_bench.data.miniclevr.pretext import (
    image_hashes,
    position_targets,
    pretext_images,
)
from fusion_bench.data.miniclevr.scenes.conditions import CogentCondition
from fusion_bench.encoders.vision import build_backbone, normalise, save_backbone
from fusion_bench.errors import DataError, FusionBenchError, WeightsError
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.storage import digest, file_digest, lock, read_json, write_json
from fusion_bench.training.pretext import PretextRecipe, PretextSamples, train_pretext
from fusion_bench.training.seeds import seeded_rng

_SEED = 0


@dataclass(frozen=True)
class PretextWeights:
    """The weights of a backbone after the pretext task.

    Attributes:
        file: the file that ``build_backbone(weights="pretext")`` reads.
        trained_on: SHA-256 of every image that the backbone was trained or scored on.
    """

    file: Path
    trained_on: frozenset[str]

    def check_unseen(self, images: npt.NDArray[np.uint8], split: str) -> None:
        """Check that no image of a split was used by the pretext task.

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


@dataclass(frozen=True)
class PretextTask:
    """A backbone and the settings with which it is trained on the pretext task.

    Attributes:
        name: timm's name of the backbone.
        layer: index of the map on which the task is trained.
        image_size: height and width of the images in pixels.
        recipe: the training settings.
        condition: the CoGenT condition of the scenes; None allows any scene.
    """

    name: str
    layer: int
    image_size: tuple[int, int]
    recipe: PretextRecipe = field(default_factory=PretextRecipe)
    condition: CogentCondition | None = None

    def file(self, cache: Path) -> Path:
        """Return the file of the weights in the cache; its name also depends on torch's and timm's versions."""
        named_by = [
            self.name,
            self.layer,
            list(self.image_size),
            asdict(self.recipe),
            _SEED,
            torch.__version__,
            version("timm"),
        ]
        if self.condition is not None:
            named_by.append(self.condition)
        return cache / "weights" / f"pretext-{digest(named_by)}.safetensors"


def make_pretext_weights(task: PretextTask, cache: Path, notify: Notify = say_nothing) -> PretextWeights:
    """Return the weights after the pretext task; train them first unless they are in the cache.

    One process trains while others wait.

    Args:
        task: the backbone and the training settings.
        cache: the folder of the weights.
        notify: is told how many images are rendered and how many steps are trained.

    Raises:
        WeightsError: the loss of the pretext task is not finite.
    """
    file = task.file(cache)
    with lock(file.with_suffix(".lock"), wait=True):
        if not _is_complete(file):
            _make(task, file, notify)
    return read_pretext_weights(task, cache)


def read_pretext_weights(task: PretextTask, cache: Path) -> PretextWeights:
    """Return the weights after the pretext task from the cache.

    Raises:
        WeightsError: they are missing or damaged.
    """
    file = task.file(cache)
    if not _is_complete(file):
        raise WeightsError(
            f"the pretext weights of {task.name} are not in {cache / 'weights'}; run the study again to make them"
        )
    return PretextWeights(file, frozenset(read_json(file.with_suffix(".json"))["pictures"]))


def _is_complete(file: Path) -> bool:
    record = file.with_suffix(".json")
    if not (file.exists() and record.exists()):
        return False
    try:
        recorded = read_json(record)
        return isinstance(recorded["pictures"], list) and bool(recorded["sha256"] == file_digest(file))
    except (FusionBenchError, KeyError, TypeError):  # the record is damaged
        return False


def _make(task: PretextTask, file: Path, notify: Notify) -> None:
    recipe = task.recipe
    count = recipe.images + recipe.held_out
    made = pretext_images(_SEED, count, task.image_size, condition=task.condition, notify=notify)
    with seeded_rng("init/pretext-backbone", _SEED):
        backbone = build_backbone(task.name, image_size=task.image_size, layer=task.layer)
    share, attributes = position_targets(made.ids, made.attributes, backbone.map_size)
    images = normalise(torch.from_numpy(made.images), backbone.mean, backbone.std)
    samples = PretextSamples(
        images.contiguous(memory_format=torch.channels_last),
        torch.from_numpy(share),
        torch.from_numpy(attributes),
    )
    scores = train_pretext(backbone, backbone.channels, samples, recipe, _SEED, notify)
    save_backbone(backbone, file)
    write_json(
        file.with_suffix(".json"),
        {
            "sha256": file_digest(file),
            "backbone": task.name,
            "layer": task.layer,
            "recipe": asdict(recipe),
            "condition": task.condition,
            "held_out_accuracy": {"foreground": scores.foreground, **scores.attributes},
            "pictures": image_hashes(made.images),
        },
    )
