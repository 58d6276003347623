"""The pretext task of a backbone, and the file that holds its weights: in the package or in the cache."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch

from fusion_bench.data.miniclevr.scenes.conditions import CogentCondition
from fusion_bench.encoders.timm_models import tagged_name
from fusion_bench.storage import digest
from fusion_bench.training.pretext.recognition import PretextRecipe

PRETEXT_SEED = 0
"""The seed of the scenes, the initial weights and the order of the images."""


@dataclass(frozen=True)
class PretextTask:
    """A backbone and the settings with which it is trained on the pretext task.

    Attributes:
        name: timm's name of the backbone.
        layer: index of the last map on which the task is trained.
        image_size: height and width of the images in pixels.
        recipe: the training settings.
        condition: the CoGenT condition of the scenes; None allows any scene.
    """

    name: str
    layer: int
    image_size: tuple[int, int]
    recipe: PretextRecipe = field(default_factory=PretextRecipe)
    condition: CogentCondition | None = None

    @property
    def is_shipped(self) -> bool:
        """Return True if the package holds the weights of this task, or better ones than its default recipe gives.

        In place of the default recipe, `SHIPPED` stands for its backbone, image size and condition, and for every
        layer whose map it was trained on: the last ones, which are one network.
        """
        return self == SHIPPED or (
            self.recipe == PretextRecipe()
            and SHIPPED.layer - SHIPPED.recipe.maps < self.layer % _MAPS <= SHIPPED.layer
            and (self.image_size, self.condition) == (SHIPPED.image_size, SHIPPED.condition)
            and tagged_name(self.name) == SHIPPED.name
        )

    def file(self, cache: Path) -> Path:
        """Return the file of the weights, in the package or else in the cache.

        The name of a file in the cache also depends on torch's and timm's versions.
        """
        if self.is_shipped:
            return SHIPPED_FILE
        named_by = [
            self.name,
            self.layer,
            list(self.image_size),
            asdict(self.recipe),
            PRETEXT_SEED,
            torch.__version__,
            version("timm"),
        ]
        if self.condition is not None:
            named_by.append(self.condition)
        return cache / "weights" / f"pretext-{digest(named_by)}.safetensors"


_MAPS = 5
"""The number of maps of the shipped backbone; negative layers count from the last one."""

SHIPPED = PretextTask(
    "test_resnet.r160_in1k",
    layer=3,
    image_size=(96, 144),
    recipe=PretextRecipe(images=15000, held_out=1000, steps=6000, precision="bfloat16"),
)
"""The task of the weights in the package; ``tools/make_pretext_weights.py`` trains them."""

SHIPPED_FILE = Path(__file__).parent / "shipped" / "test_resnet-96x144.safetensors"
"""The weights of `SHIPPED`; beside them are their record and the hashes of the images."""
