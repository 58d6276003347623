"""``official: true``: the settings of LaConvNet's published recipe for images and training.

Source: the configuration that the authors ship for detection and segmentation, the same for the sizes S and B: input
416 x 416, letterboxed on grey 127, values in [0, 1]; 15 words; Adam (0.9, 0.98, eps 1e-9) without weight decay; 40
epochs, batches of 32; 3 epochs of warm-up from 1e-7 to 1e-4, then a cosine to 1e-6, updated at every step; gradient
norm at most 0.15; a moving average of the weights with decay 0.9997, evaluated and kept; one random sentence of each
referent; no mixed precision. The authors start from a network pretrained on 200,000 images; a study without these
weights starts from other weights.

The recipe leaves ``data.normalise`` to the study. A network gets values in [0, 1] in any case. The mean and standard
deviation of a backbone belong to its weights; ``normalise: none`` gives values in [0, 1] to backbones too.
"""

from __future__ import annotations

from collections.abc import Mapping

from fusion_bench.spec.document.problems import Problems, format_value
from fusion_bench.spec.document.tree import Node
from fusion_bench.spec.signatures import equal_values
from fusion_bench.training.config import Json

_WARMUP_EPOCHS, _EPOCHS = 3, 40

OFFICIAL: Mapping[str, Mapping[str, Json]] = {
    "data": {"image_size": [416, 416], "longest_text": 15, "resize": "letterbox"},
    "train": {
        "epochs": _EPOCHS,
        "batch_size": 32,
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "warmup": _WARMUP_EPOCHS / _EPOCHS,
        "warmup_from": 1e-7,
        "final_learning_rate": 1e-6,
        "clip": 0.15,
        "precision": "float32",
        "optimizer": "adam",
        "betas": [0.9, 0.98],
        "eps": 1e-9,
        "ema": 0.9997,
        "one_expression_per_referent": True,
    },
}


def apply_official_recipe(tree: Node, problems: Problems) -> Node:
    """Return the study with the settings of the recipe if it says ``official: true``, else the study as it is.

    A setting of the study that contradicts the recipe is recorded as a mistake. The ``train`` section of an arm may
    differ from the recipe.
    """
    switch = tree.children.get("official")
    if switch is None or switch.value is not True:
        return tree
    sections = dict(tree.children)
    for name, values in OFFICIAL.items():
        section = sections.get(name)
        if section is None or section.value is None:
            section = Node({}, switch.location, name)
        entries = dict(section.children)
        for key, value in values.items():
            required = _to_node(value, Node(None, switch.location, f"{name}.{key}"))
            if key in entries and not equal_values(entries[key].plain(), value):
                problems.add(
                    entries[key],
                    f"official: true means {format_value(required)} here, not {format_value(entries[key])}; leave it "
                    "out, or drop official",
                )
            entries[key] = required
        sections[name] = section.having(entries)
    return tree.having(sections)


def _to_node(value: Json, at: Node) -> Node:
    """Return a JSON value as a node at the location and path of ``at``."""
    if isinstance(value, list):
        items = [
            _to_node(item, Node(None, at.location, f"{at.path}[{number}]"))
            for number, item in enumerate(value)
        ]
        return Node(items, at.location, at.path)
    assert not isinstance(value, dict)  # noqa: S101 - the recipe has no deeper mapping
    return Node(value, at.location, at.path)
