"""The setup of the arms as sentences, from the settings that their cells are trained with.

Where arms differ in a setting, each of its values stands with the labels of its arms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fusion_bench.cells.result import Outcome
from fusion_bench.encoders.packages import package_of
from fusion_bench.spec.arms import Arm
from fusion_bench.training.config import (
    BackboneConfig,
    CellConfig,
    Component,
    Json,
    TrainConfig,
    hash_reference,
)
from fusion_bench.training.model import head_settings
from fusion_bench.training.splits import task_class

_WEIGHTS = {
    "imagenet": "ImageNet weights from timm",
    "random": "random initial weights",
    "pretext": "weights from dense attribute recognition on separate built-in scenes",
    "file": "weights from a file",
}


def labels_by_text(arms: Sequence[Arm], write: Callable[[CellConfig], str]) -> dict[str, list[str]]:
    """Return the labels of the arms whose settings give each text, in the order of the arms."""
    labels: dict[str, list[str]] = {}
    for arm in arms:
        labels.setdefault(write(arm.config), []).append(arm.label)
    return labels


def phrase(arms: Sequence[Arm], write: Callable[[CellConfig], str]) -> str:
    """Return ``2`` if that is the text of every arm, else ``2 (film, concat) or 1 (laconv)``."""
    labels = labels_by_text(arms, write)
    if len(labels) == 1:
        return next(iter(labels))
    return " or ".join(f"{text} ({', '.join(names)})" for text, names in labels.items())


def _sentences(arms: Sequence[Arm], write: Callable[[CellConfig], str]) -> str:
    """Return the sentence of every arm if it is the same, else each sentence after the labels of its arms."""
    labels = labels_by_text(arms, write)
    if len(labels) == 1:
        return next(iter(labels))
    return " ".join(f"{', '.join(names)}: {text}" for text, names in labels.items())


def backbone_sentence(arms: Sequence[Arm]) -> str:
    """Return which maps the arms get, and from which weights."""
    if all(arm.config.backbone is None for arm in arms):
        return "None: end-to-end networks only."
    return _sentences(arms, _backbone)


def _backbone(config: CellConfig) -> str:
    backbone = config.backbone
    if backbone is None:
        return "none, end to end."
    state = "frozen, its feature maps computed once" if backbone.frozen else "trained with every arm"
    return f"{backbone.name} (timm), map {backbone.layer}, {_weights(backbone)}, {state}."


def _weights(backbone: BackboneConfig) -> str:
    if backbone.weights == "package":
        return f"ImageNet weights of the package {package_of(backbone.name).distribution}"
    return _WEIGHTS[backbone.weights]


def words_sentence(arms: Sequence[Arm], outcomes: Mapping[str, Outcome]) -> str:
    """Return how sentences are read.

    Args:
        arms: the arms.
        outcomes: an outcome of each arm that has one, by label.
    """
    by_name: dict[str, list[str]] = {}
    for arm in arms:
        by_name.setdefault(_text_encoder(arm.config.text), []).append(arm.label)
    parts = []
    any_frozen = False
    for name, labels in by_name.items():
        results = [outcomes[label].result for label in labels if label in outcomes]
        words = results[0].words or f"{results[0].vocabulary:,} words from train" if results else ""
        any_frozen |= bool(results and results[0].words)
        start = f"{', '.join(labels)}: " if len(by_name) > 1 else ""
        parts.append(f"{start}{name}{f', {words}' if words else ''}")
    which = "in every arm" if len(by_name) == 1 else "in all arms with the same encoder"
    frozen = ", as far as it is not frozen" if any_frozen else ""
    return f"{'; '.join(parts)}; equal architecture and initial weights {which}, trained with it{frozen}."


def _text_encoder(text: Component) -> str:
    name = text.target.reference.partition(":")[2]
    settings = ", ".join(f"{key} {_short(value)}" for key, value in text.settings.items())
    return f"{name} ({settings})" if settings else name


def _short(value: Json) -> Json:
    """Return the first digits of a file hash; any other setting unchanged."""
    return (
        value[: len(hash_reference("")) + 12]
        if isinstance(value, str) and value.startswith(hash_reference(""))
        else value
    )


def labels_by_slot(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """Return the labels of the arms with each kind of slot; networks have none."""
    return labels_by_text([arm for arm in arms if arm.config.kind == "module"], lambda c: c.fusion.slot)


def slot_sentence(arms: Sequence[Arm]) -> str:
    """Return what surrounds the modules."""
    modules = [arm for arm in arms if arm.config.kind == "module"]
    if not modules:
        return f"None: end-to-end networks only; {phrase(arms, _coordinates_of_network)}."
    followed = {
        "published": "as published",
        "uniform": "with the same residual 3x3 mixer after each",
        "both": "as published, or with the same residual 3x3 mixer after each (a factor of this study)",
    }
    slots = list(labels_by_slot(modules))
    return (
        f"1x1 projection to {phrase(modules, lambda c: str(c.fusion.width))} channels, "
        f"{phrase(modules, _copies)} of the module {followed[slots[0] if len(slots) == 1 else 'both']}, "
        f"1x1 adapter to {phrase(modules, lambda c: str(c.head.width))}; {phrase(modules, _coordinates)}."
    )


def _copies(config: CellConfig) -> str:
    return "1 copy" if config.fusion.depth == 1 else f"{config.fusion.depth} copies"


def _coordinates(config: CellConfig) -> str:
    return {
        "shared": "the same two coordinate maps before the slot and before the head",
        "module": "no shared coordinate maps",
        "none": "no coordinate maps",
    }[config.fusion.coordinates]


def _coordinates_of_network(config: CellConfig) -> str:
    shared = config.fusion.coordinates == "shared"
    return "the same two coordinate maps before the head" if shared else "no coordinate maps"


def head_sentence(arms: Sequence[Arm]) -> str:
    """Return how the head makes its output from the fused map."""
    return _sentences(arms, lambda c: task_class(c.data).describe_head(c.head.kind, head_settings(c.head)))


def training_sentence(arms: Sequence[Arm]) -> str:
    """Return how the arms are trained."""
    if not any(arm.config.train.epochs for arm in arms):
        return "None: the initial weights of each arm are evaluated without training."

    def of(write: Callable[[TrainConfig], str]) -> str:
        return phrase(arms, lambda config: write(config.train))

    return (
        f"{of(lambda train: str(train.epochs))} epochs of batches of {of(lambda train: str(train.batch_size))}, "
        f"{of(_optimizer)}, learning rate {of(lambda train: f'{train.learning_rate:g}')}, weight decay "
        f"{of(lambda train: f'{train.weight_decay:g}')}, warm-up {of(_warmup)}, cosine to {of(_end)}, "
        f"gradient norm clipped at {of(lambda train: f'{train.clip:g}')}{_extras(arms)}."
    )


def _optimizer(train: TrainConfig) -> str:
    name = {"adamw": "AdamW", "adam": "Adam"}[train.optimizer]
    if (train.betas, train.eps) == (TrainConfig.betas, TrainConfig.eps):
        return name
    return f"{name} (betas {train.betas[0]:g} and {train.betas[1]:g}, eps {train.eps:g})"


def _warmup(train: TrainConfig) -> str:
    start = "" if train.warmup_from is None else f"from {train.warmup_from:g} "
    return f"{start}over {100 * train.warmup:.3g}% of the steps"


def _end(train: TrainConfig) -> str:
    return f"{train.final_learning_rate:g}" if train.final_learning_rate else "zero"


def _extras(arms: Sequence[Arm]) -> str:
    """Return the clauses that most studies do not need, each with the labels of its arms unless it holds for all."""
    text = ""
    for write in (_patience, _moving_average, _one_expression):
        for clause, labels in labels_by_text(arms, write).items():
            if clause:
                text += f"; {clause}" + ("" if len(labels) == len(arms) else f" ({', '.join(labels)})")
    return text


def _patience(config: CellConfig) -> str:
    patience = config.train.patience
    return (
        "" if patience is None else f"training ends after {patience} epochs without a better selection metric"
    )


def _moving_average(config: CellConfig) -> str:
    ema = config.train.ema
    return "" if ema is None else f"a moving average of the weights ({ema:g}) is evaluated and kept"


def _one_expression(config: CellConfig) -> str:
    chosen = config.train.one_expression_per_referent
    return "an epoch draws one sentence per referent" if chosen else ""
