"""A pretext network read back from the file that training wrote."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch

from fusion_bench.encoders.pretext_file import PRETEXT_HEADS
from fusion_bench.encoders.vision import build_backbone
from fusion_bench.training.pretext.network import PretextNetwork
from fusion_bench.training.pretext.task import PretextTask


def read_pretext_network(task: PretextTask, file: Path) -> PretextNetwork:
    """Return the backbone and the heads that `write_pretext_weights` trained."""
    backbone = build_backbone(
        task.name,
        image_size=task.image_size,
        layer=task.layer,
        weights="pretext",
        weights_file=file,
        maps=task.recipe.maps,
    )
    network, saved = PretextNetwork(backbone, 0), safetensors.torch.load_file(file)
    heads = {name: value for name, value in saved.items() if name.startswith(PRETEXT_HEADS)}
    network.heads.load_state_dict({name.removeprefix(PRETEXT_HEADS): heads[name] for name in heads})
    return network
