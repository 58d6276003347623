"""``official: true``: LaConvNet's published recipe for images and training, written out as the study's own settings.

Source: the configuration that the authors ship for detection and segmentation (one recipe, S and B alike): input
416 x 416, letterboxed on grey 127 with values in [0, 1]; 15 words; Adam (0.9, 0.98, eps 1e-9), no weight decay; 40
epochs of batches of 32; 3 epochs of warm-up from 1e-7 to 1e-4, cosine to 1e-6, step by step; gradient norm 0.15; a
moving average of 0.9997, judged and kept; one of a referent's sentences at random; no mixed precision. They start
from a network pretrained on 200,000 images, which a study without these weights does not.

The data section's ``normalise`` is left to the study: a network gets values in [0, 1] in any case, and a
backbone's mean and deviation belong to the backbone's weights; ``normalise: none`` gives them to backbones too.
"""

from __future__ import annotations

from collections.abc import Mapping

from fusion_bench.spec.document.problems import Problems, shown
from fusion_bench.spec.document.tree import Node
from fusion_bench.spec.signatures import same
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
    """The study with the recipe written out, if it says ``official: true``; what it says otherwise is noted.

    An arm's own ``train`` stays as it is: that is how an arm departs from the recipe.
    """
    switch = tree.children.get("official")
    if switch is None or switch.value is not True:
        return tree
    sections = dict(tree.children)
    for name, values in OFFICIAL.items():
        section = sections.get(name)
        if section is None or section.value is None:
            section = Node({}, switch.place, name)
        entries = dict(section.children)
        for key, value in values.items():
            wanted = _node(value, Node(None, switch.place, f"{name}.{key}"))
            if key in entries and not same(entries[key].plain(), value):
                problems.add(
                    entries[key],
                    f"official: true means {shown(wanted)} here, not {shown(entries[key])}; leave it out, or drop "
                    "official",
                )
            entries[key] = wanted
        sections[name] = section.having(entries)
    return tree.having(sections)


def _node(value: Json, at: Node) -> Node:
    if isinstance(value, list):
        items = [
            _node(item, Node(None, at.place, f"{at.path}[{number}]")) for number, item in enumerate(value)
        ]
        return Node(items, at.place, at.path)
    assert not isinstance(value, dict)  # noqa: S101 - the recipe has none
    return Node(value, at.place, at.path)
